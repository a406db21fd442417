"""python -m hamgr.simulation."""

import sys

from hamgr.simulation.main import main

if __name__ == "__main__":
    sys.exit(main())
