"""`python -m hamgr` does what the command `hamgr` does."""

from hamgr.cli.main import main

if __name__ == "__main__":
    main(prog_name="hamgr")
