"""A stand-in for the agent: a real hamgr.adapters.net Addresses, told what to do on standard input.

usage: vip_host.py '{"GROUP": [["ADDRESS", PREFIX, "INTERFACE" or null], ...]}'
Each input line is a JSON list, a method and its arguments; each is answered by one line. Events are
lines of their own. A real agent would need a cluster to have a right to any address.
"""

import asyncio
import ctypes
import errno
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from hamgr.adapters.net import lan
from hamgr.adapters.net.addresses import Addresses
from hamgr.adapters.net.rtnetlink import Rtnetlink
from hamgr.adapters.net.vip import Vip
from hamgr.adapters.net.wire import Wire
from hamgr.core.events import Event

failed: list[bool] = []


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def post(event: Event) -> None:
    say(event=type(event).__name__, at=time.monotonic(), **msgspec.to_builtins(event))


def freeze_before_netlink(netlink: Rtnetlink) -> None:
    """Be frozen (SIGSTOP) at the next change of addresses, after it was decided on."""
    apply = netlink.apply

    def frozen(messages: Sequence[bytes]) -> list[int]:
        vars(netlink).pop("apply")
        os.kill(os.getpid(), signal.SIGSTOP)
        return apply(messages)

    vars(netlink)["apply"] = frozen


def open_wires(possible: bool) -> int:
    """Let the opening of wires fail, or succeed again; return how often it has failed."""
    right = Wire

    def refused(*arguments: Any) -> Wire:
        failed.append(True)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    vars(lan)["Wire"] = right if possible else refused
    return len(failed)


def set_net_admin(wanted: bool) -> None:
    """Put CAP_NET_ADMIN into this thread's effective set, or take it out (capget(2))."""
    libc, header = ctypes.CDLL(None, use_errno=True), struct.pack("=Ii", 0x20080522, 0)
    sets = ctypes.create_string_buffer(24)
    assert libc.capget(header, sets) == 0
    words = list(struct.unpack("=6I", sets.raw))
    words[0] = words[0] | 1 << 12 if wanted else words[0] & ~(1 << 12)
    assert libc.capset(header, struct.pack("=6I", *words)) == 0, ctypes.get_errno()


async def obey(addresses: Addresses, method: str, *arguments: Any) -> Any:
    if method == "modules":
        return sorted(name for name in sys.modules if name.partition(".")[0] == "scapy")
    if method == "clean":
        return await addresses.clean(frozenset(arguments[0]))
    if method == "configure":
        groups, valid_lft_s = arguments
        return await addresses.configure(
            {group: tuple(Vip(*vip) for vip in vips) for group, vips in groups.items()},
            valid_lft_s=valid_lft_s, renewal_s=0.5)
    if method == "withdrawal_messages":
        return {group: [message.hex() for message in messages]
                for group, messages in addresses.withdrawal_messages().items()}
    if method == "freeze_before_netlink":
        return freeze_before_netlink(addresses._kernel._netlink)
    if method == "open_wires":
        return open_wires(*arguments)
    if method == "break_socket":
        return addresses._kernel._netlink._socket.close()
    if method == "may_change_addresses":
        return set_net_admin(*arguments)
    if method == "reclaim":
        addresses.withdraw(arguments[0], 1)
        return addresses.claim(arguments[0], 2, "none")
    return getattr(addresses, method)(*arguments)


async def main() -> None:
    groups = {group: tuple(Vip(*vip) for vip in vips)
              for group, vips in json.loads(sys.argv[1]).items()}
    told: list[bool] = []

    def interfaces_changed() -> None:
        told.append(True)
        if len(told) > 1:
            say(event="interfaces")

    addresses = Addresses(groups, post, interfaces_changed=interfaces_changed)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    await addresses.start()
    say(answer="ready" if told else "interfaces_changed was not called", at=time.monotonic())
    while line := await lines.readline():
        try:
            answer = await obey(addresses, *json.loads(line))
        except OSError as error:
            answer = f"OSError: {error}"
        say(answer=answer, at=time.monotonic())
    await addresses.close()


asyncio.run(main())
