"""A fence device of one's own, as a group's file names it: asks a power strip over the network.

    python -I -S outlet.py ADDRESS PORT

What to do, and to whom, stands in its environment; the strip answers "on", "off", "done", or why it
does not. It has to start fast, so it uses the standard library alone.
"""

import os
import socket
import sys

ON, OFF, FAILED = 0, 2, 1


def main(address: str, port: str) -> int:
    """Ask, and return the exit status."""
    asked = f"{os.environ['HAMGR_FENCE_ACTION']} {os.environ['HAMGR_FENCE_NODE']}\n"
    with socket.create_connection((address, int(port))) as strip:
        strip.sendall(asked.encode())
        answer = strip.makefile().readline().strip()
    sys.stdout.write(f"{answer}\n")
    return {"on": ON, "done": ON, "off": OFF}.get(answer, FAILED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
