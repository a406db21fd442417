"""What agents call as crm_attribute, crm_node and the like: asks the agent of hamgr, and repeats.

Standard library only, and little of it: agents wait for this several times in each action. The
module `_socket` instead of `socket` halves the time that it takes. It is copied to a directory of
its own, under each command's name; it knows its name, nothing more.

    instance NUL name NUL argument NUL ... (end of stream)
    exit status LF length of stdout LF stdout stderr
"""

import _socket
import os
import sys

UNREACHABLE = 102
"""Exit status CRM_EX_DISCONNECT of Pacemaker: no connection to the cluster. Agents try again."""
_PATIENCE_S = 20.0
"""How long an answer may take: hamgr answers at once, or is being stopped."""


def main() -> int:
    """Ask, print the answer, and return the exit status."""
    name = os.path.basename(sys.argv[0])
    words = [os.environ.get("OCF_RESOURCE_INSTANCE", ""), name, *sys.argv[1:]]
    try:
        answer = _ask(os.environ["HAMGR_SHIM_SOCKET"], "\0".join(words).encode())
        code, length, rest = answer.split(b"\n", 2)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{name}: hamgr does not answer: {error!r}\n")
        return UNREACHABLE
    sys.stdout.buffer.write(rest[:int(length)])
    sys.stderr.buffer.write(rest[int(length):])
    return int(code)


def _ask(path: str, question: bytes) -> bytes:
    hamgr = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    hamgr.settimeout(_PATIENCE_S)
    hamgr.connect(path)
    hamgr.sendall(question)
    hamgr.shutdown(_socket.SHUT_WR)
    answer = b""
    while part := hamgr.recv(65536):
        answer += part
    return answer


if __name__ == "__main__":
    sys.exit(main())
