"""A stand-in for the agent: a real hamgr.adapters.net Addresses, told what to do on standard input.

usage: vip_host.py '{"GROUP": [["ADDRESS", PREFIX, "INTERFACE" or null], ...]}'
Each input line is a JSON list, a method and its arguments; each is answered by one line. Events are
lines of their own. A real agent would need a cluster to have a right to any address.
"""

import asyncio
import json
import sys
import time

import msgspec

from hamgr.adapters.net.addresses import Addresses
from hamgr.adapters.net.vip import Vip


def say(**fields):
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def post(event):
    say(event=type(event).__name__, at=time.monotonic(), **msgspec.to_builtins(event))


async def obey(addresses, method, *arguments):
    if method == "modules":
        return sorted(name for name in sys.modules if name.partition(".")[0] == "scapy")
    if method == "clean":
        return await addresses.clean(frozenset(arguments[0]))
    if method == "withdrawal_messages":
        return {group: [message.hex() for message in messages]
                for group, messages in addresses.withdrawal_messages().items()}
    if method == "reclaim":
        addresses.withdraw(arguments[0], 1)
        return addresses.claim(arguments[0], 2, "none")
    return getattr(addresses, method)(*arguments)


async def main():
    groups = {group: tuple(Vip(*vip) for vip in vips)
              for group, vips in json.loads(sys.argv[1]).items()}
    told = []

    def interfaces_changed():
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
