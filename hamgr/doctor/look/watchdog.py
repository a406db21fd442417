"""The watchdog device, by what sysfs says of it, and who has it open."""

import os
from contextlib import suppress
from pathlib import Path

from hamgr.adapters.watchdog.device import attribute
from hamgr.agent.facts import AgentStatus
from hamgr.config.schema import Watchdog
from hamgr.core.types import SECOND
from hamgr.doctor.facts import Missing, WatchdogDevice


def watchdog(wanted: Watchdog, agent: AgentStatus | Missing) -> WatchdogDevice:
    """Return what there is. The device is not opened: that would start it. Raises OSError."""
    if wanted.device is None:
        return WatchdogDevice(device="")
    if not os.path.exists(wanted.device):
        return WatchdogDevice(device=wanted.device, there=False)
    holder = _holder(wanted.device)
    pid, trouble = ((0, "") if isinstance(agent, Missing) else
                    (agent.process.pid, agent.watchdog.trouble))
    return WatchdogDevice(
        device=wanted.device, timeout_s=int(wanted.timeout) // SECOND,
        identity=attribute(wanted.device, "identity") or "of unknown make",
        shortest_s=_number(wanted.device, "min_timeout"),
        longest_s=_number(wanted.device, "max_timeout"),
        nowayout=attribute(wanted.device, "nowayout") == "1",
        counts=attribute(wanted.device, "state") == "active",
        holder=_name(holder), holder_pid=holder,
        ours=holder == pid != 0, trouble=trouble)


def _number(device: str, name: str) -> int:
    text = attribute(device, name)
    return int(text) if text.isdigit() else 0


def _holder(device: str) -> int:
    """Return the process that has it open, 0 if none; /dev/watchdog and watchdog0 are one."""
    paths = {device, os.path.realpath(device)}
    if paths & {"/dev/watchdog", "/dev/watchdog0"}:
        paths |= {"/dev/watchdog", "/dev/watchdog0"}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if any(os.readlink(fd) in paths for fd in (process / "fd").iterdir()):
                return int(process.name)
    return 0


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() if pid else ""
    return ""
