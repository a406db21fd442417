"""The frames that speak for a VIP, built by scapy.

Theory. scapy costs 20 to 48 MiB and up to a second of CPU to import, so a child process of its own
(scapy_frames.py) builds all frames, once, before they are needed, and hands over their bytes.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

_CHILD = "hamgr.adapters.net.scapy_frames"
_PATIENCE_S = 60.0
"""The child needs half a second; on a machine that is starting up, several."""


class FrameRequest(NamedTuple):
    """For what frames are built."""

    address: str
    mac: str
    """Of the interface that the VIP is on."""
    router: bool
    """The node forwards IPv6 there: a neighbour advertisement without the flag would make hosts
    drop it as their router (RFC 4861, section 7.2.5)."""


class Frames(NamedTuple):
    """The frames for one VIP on one interface."""

    announcements: tuple[bytes, ...]
    """IPv4: gratuitous ARP, as request and as reply; IPv6: an unsolicited advertisement."""
    question: bytes
    """An ARP probe (RFC 5227) or a solicitation as for duplicate address detection (RFC 4862):
    both come from no address, so that nobody's cache learns from them."""


async def build_frames(requests: Sequence[FrameRequest]) -> list[Frames]:
    """Have the frames built. Raises OSError if the child fails or takes more than a minute."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _CHILD, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"})
    try:
        async with asyncio.timeout(_PATIENCE_S):
            output, errors = await child.communicate(json.dumps(requests).encode())
    except TimeoutError:
        raise OSError(f"scapy built no frames within {_PATIENCE_S:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise OSError(f"scapy could not build the frames: {last}")
    return [Frames(tuple(bytes.fromhex(frame) for frame in announcements), bytes.fromhex(question))
            for announcements, question in json.loads(output)]
