"""A stand-in for the agent: feeds a real dead-man's switch as it is told on standard input.

usage: feeder.py RUN_DIR GROUP=ADDRESS/PREFIX@INTERFACE...
Each line is a JSON list, a command and its arguments; each is answered by a line of JSON. Events
and deaths are lines of their own. A real agent would need a cluster to have a lease at all.
"""

import asyncio
import ipaddress
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from hamgr.adapters.runlock import RunLock
from hamgr.adapters.switch import SwitchProcess


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def deletion(cidr: str, interface: str) -> bytes:
    """Return an RTM_DELADDR request, with the acknowledgement asked for as pyroute2 does."""
    address = ipaddress.ip_interface(cidr)
    raw = address.ip.packed
    attribute = struct.pack("=HH", 4 + len(raw), 2) + raw
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = struct.pack("=BBBBI", family, address.network.prefixlen, 0, 0,
                       socket.if_nametoindex(interface)) + attribute
    return struct.pack("=IHHII", 16 + len(body), 21, 0x5, 7, 0) + body


class Feeder:
    def __init__(self, switch: SwitchProcess) -> None:
        self.switch = switch
        self.over = asyncio.Event()
        self._commands = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115

    def do(self, command: str, *rest: Any) -> Any:
        switch = self.switch
        if command == "deadline":
            ahead_ms, confirm = rest
            deadline = time.monotonic_ns() + int(ahead_ms * 1e6)
            switch.set_deadline(deadline, 5, confirm)
            return deadline
        if command == "facts":
            facts = switch.facts
            return {name: getattr(facts, name) for name in facts.__struct_fields__}
        if command == "deadlines":
            for serial in range(rest[0]):
                switch.set_deadline(time.monotonic_ns() + 10**11, serial, False)
            return None
        if command == "overrun":
            time.sleep(rest[0])
            return None
        if command == "close":
            self.over.set()
            return None
        return getattr(switch, command)(*rest)

    def hear(self) -> None:
        line = self._commands.readline()
        if not line:
            self.over.set()
            return
        say(answer=self.do(*json.loads(line)))


async def main() -> None:
    run_dir, *groups = sys.argv[1:]
    lock = RunLock(Path(run_dir))
    lock.take()
    old = lock.end_old_switch()
    vips: dict[str, list[tuple[str, str]]] = {}
    for text in groups:
        name, _, where = text.partition("=")
        cidr, _, interface = where.partition("@")
        vips.setdefault(name, []).append((cidr, interface))
    switch = SwitchProcess(list(vips), lambda event: say(event=repr(event)),
                           run_dir=lock.path.parent, lock_fd=lock.fileno(),
                           on_death=lambda why: say(death=why))
    for name, addresses in vips.items():
        switch.load(name, tuple(deletion(*address) for address in addresses))
    await switch.start()
    feeder = Feeder(switch)
    asyncio.get_running_loop().add_reader(0, feeder.hear)
    say(ready=os.getpid(), switch=switch.facts.process, old=old)
    await feeder.over.wait()
    await switch.close()
    say(closed=switch.facts.last_act)


if __name__ == "__main__":
    asyncio.run(main())
