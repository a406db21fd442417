"""This machine's clock, disk, processes and units, asked of the kernel and of systemd's tools."""

import ctypes
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hamgr.core.types import GroupName, ServiceName
from hamgr.doctor.facts import (
    AgentHome,
    Clock,
    Disk,
    Managers,
    ServiceUnit,
    ServiceUnits,
    Units,
)

KNOWN = ("NetworkManager", "connmand", "corosync", "dhclient", "dhcpcd", "heartbeat", "keepalived",
         "kube-vip", "pacemakerd", "ucarp", "vip-manager", "vrrpd")
"""Programs that give addresses to a machine, or take them away, by the name of their process."""
SPOKEN_FOR = ("NetworkManager",)
"""Those that are asked what they manage: that they run says little."""
UNITS = ("hamgr.service", "hamgr-deadman.socket")
_WANTERS = ("WantedBy", "RequiredBy", "BoundBy", "UpheldBy")
SYSTEMD = Path("/run/systemd/system")
"""There if, and only if, systemd is the service manager (sd_booted(3))."""
WITHIN_S = 5.0
_STA_UNSYNC = 0x40
_TICK = 10_000
"""Microseconds of a tick at the proper rate, with USER_HZ 100 (adjtimex(2))."""


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
        ("constant", ctypes.c_long), ("precision", ctypes.c_long), ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2), ("tick", ctypes.c_long), ("rest", ctypes.c_long * 32))


def clock() -> Clock:
    """Return how the clock is disciplined; reading needs no privilege. Raises OSError."""
    found = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return Clock(slew=found.tick / _TICK - 1 + found.freq / (1 << 16) / 1e6,
                 synchronised=not found.status & _STA_UNSYNC)


def managers() -> Managers:
    """Return who else manages addresses in this network namespace. Raises OSError."""
    return Managers(processes={name: pid for name, pid in _neighbours().items()
                               if name not in SPOKEN_FOR},
                    networkd=_networkd(), networkmanager=_networkmanager())


def units() -> Units:
    """Return whether hamgr's units are enabled. Raises OSError without systemd."""
    if not SYSTEMD.is_dir():
        raise OSError("systemd is not the service manager here")
    return Units(enabled={unit: _said("systemctl", "is-enabled", unit).strip() for unit in UNITS})


def service_units(units: Mapping[tuple[GroupName, ServiceName], str]) -> ServiceUnits:
    """Return who starts the units of services beside hamgr. Raises OSError without systemd."""
    if units and not SYSTEMD.is_dir():
        raise OSError("systemd is not the service manager here")
    return ServiceUnits(units=tuple(_service_unit(group, service, unit)
                                    for (group, service), unit in units.items()))


def home(pid: int) -> AgentHome:
    """Return the unit in whose control group a process is. Raises OSError if it is gone."""
    group = Path(f"/proc/{pid}/cgroup").read_text()
    found = re.search(r"/([^/\s]+\.service)(?:/\S*)?$", group, re.MULTILINE)
    return AgentHome(unit=found[1] if found and SYSTEMD.is_dir() else "")


def disk(path: str) -> Disk:
    """Return what is free for root under a directory. Raises OSError."""
    found = os.statvfs(path)
    return Disk(path=path, free=found.f_bfree * found.f_frsize,
                read_only=bool(found.f_flag & os.ST_RDONLY))


def _service_unit(group: GroupName, service: ServiceName, unit: str) -> ServiceUnit:
    names = (*_WANTERS, "LoadState", "TriggeredBy", "UnitFileState")
    lines = _said("systemctl", "show", f"--property={','.join(names)}", "--", unit).splitlines()
    told = dict.fromkeys(names, "") | {
        name: value for name, _, value in (line.partition("=") for line in lines)}
    wanted_by = sorted({other for name in _WANTERS for other in told[name].split()})
    return ServiceUnit(
        group=group, service=service, unit=unit, load=told["LoadState"],
        state=told["UnitFileState"], wanted_by=tuple(wanted_by),
        triggered_by=tuple(trigger for trigger in told["TriggeredBy"].split()
                           if _said("systemctl", "is-enabled", trigger).strip() == "enabled"))


def _neighbours() -> dict[str, int]:
    """Return the known programs that run in this network namespace, with a process id of each."""
    here = os.stat("/proc/self/ns/net").st_ino
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            if name in KNOWN and (process / "ns/net").stat().st_ino == here:
                found[name] = int(process.name)
        except OSError:
            continue  # it has ended meanwhile
    return dict(sorted(found.items()))


def _networkd() -> dict[str, str]:
    """Return the interfaces that systemd-networkd has set up, with their KeepConfiguration=."""
    lines = (line.split() for line in _said(
        "networkctl", "list", "--no-legend", "--no-pager").splitlines())
    managed = [words[1] for words in lines
               if len(words) == 5 and words[4] not in ("unmanaged", "unknown", "n/a")]
    return {name: _keep_configuration(name) for name in managed}


def _keep_configuration(link: str) -> str:
    """Return what an interface's file and its drop-ins say; the last one counts."""
    status = _said("networkctl", "status", "--no-pager", "--lines=0", link)
    files = re.findall(r"(/\S+\.(?:network|conf))", status)
    kept = ""
    for file in files:
        try:
            text = Path(file).read_text()
        except OSError:
            continue
        found = re.findall(r"^[ \t]*KeepConfiguration[ \t]*=[ \t]*(\S*)", text, re.MULTILINE)
        kept = found[-1] if found else kept
    return kept


def _networkmanager() -> tuple[str, ...]:
    lines = (line.split(":") for line in _said(
        "nmcli", "--terse", "--fields", "DEVICE,STATE", "device").splitlines())
    return tuple(words[0] for words in lines
                 if len(words) == 2 and words[1] not in ("unmanaged", "unavailable"))


def _said(*argv: str) -> str:
    """Return what a tool prints; nothing if it is missing, fails to answer, or has no daemon."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WITHIN_S,
                              env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
