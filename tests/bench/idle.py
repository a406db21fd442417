"""What a system costs while nothing happens: processor, memory, packets, ZooKeeper's writes."""

import re
import time
from pathlib import Path
from typing import NamedTuple

from hamgr.core.types import MILLISECOND, SECOND, Instant
from hamgr.lab import zookeeper
from hamgr.lab.spec import VIP, LabError
from tests.bench import frames
from tests.bench.busy import Busy
from tests.bench.contender import Contender
from tests.bench.figures import System
from tests.bench.frames import Counted
from tests.bench.settings import HAMGR, USUAL, Setting

NAME = "idle"
"""Among the scenarios."""
_MINUTE_S, _SECONDS = 60.0, 20.0
_CALM_S = 3.0
_KIB = 1024


class _Sample(NamedTuple):
    at: Instant
    cpu_us: dict[str, int]
    sent: dict[str, Counted]
    transactions: int | None


def seconds(setting: Setting) -> float:
    """Return how long is looked on: a whole minute where the limits hold, one of them on writes."""
    return _MINUTE_S if (setting.system, setting.interval) == (HAMGR, USUAL) else _SECONDS


def measure(contender: Contender, seconds: float) -> System:
    """Look on for a while. No client asks for anything meanwhile."""
    contender.wait_ready()
    owner = _owner(contender)
    time.sleep(_CALM_S)
    before, busy = _sample(contender), Busy.now()
    time.sleep(seconds)
    after = _sample(contender)
    passed_s = (after.at - before.at) / SECOND
    cpu = {node: (after.cpu_us[node] - before.cpu_us[node]) / (passed_s * 1e6) * 100
           for node in before.cpu_us}
    sent = {node: (after.sent[node].heartbeats - before.sent[node].heartbeats) / passed_s
            for node in before.sent}
    others = [node for node in cpu if node != owner]
    everything = (after.sent[owner].all - before.sent[owner].all) / passed_s
    writes = (after.transactions - before.transactions
              if after.transactions is not None and before.transactions is not None else None)
    return System(
        system=contender.setting.system,
        interval_ms=contender.setting.interval / MILLISECOND, seconds=round(passed_s, 1),
        cpu_percent=round(cpu[owner], 3),
        cpu_percent_others=round(sum(cpu[node] for node in others) / len(others), 3),
        pss_mib=_memory(contender, owner, "smaps_rollup", "Pss"),
        rss_mib=_memory(contender, owner, "smaps_rollup", "Rss"),
        locked_mib=_memory(contender, owner, "status", "VmLck"),
        packets_per_s=round(sent[owner], 1),
        packets_per_s_mean=round(sum(sent.values()) / len(sent), 1),
        all_packets_per_s=round(everything, 1), zookeeper_writes=writes,
        busy_percent=Busy.now().percent_since(busy))


def _owner(contender: Contender) -> str:
    with contender.lab.watch() as eyes:
        owners = eyes.owners(VIP)
    if len(owners) != 1:
        raise LabError(f"{contender.setting}: {VIP} is on {owners}")
    return owners[0]


def _sample(contender: Contender) -> _Sample:
    lab = contender.lab
    cpu = {name: _cpu_us(node.cgroup.below(contender.part).path / "cpu.stat")
           for name, node in lab.nodes.items()}
    return _Sample(time.monotonic_ns(), cpu, frames.counted(lab), _transactions(contender))


def _transactions(contender: Contender) -> int | None:
    """Return the number of ZooKeeper's last transaction, by its leader; None without one."""
    lab = contender.lab
    leader = lab.zookeeper_leader()
    return zookeeper.last_transaction(lab.spec, leader) if leader else None


def _cpu_us(stat: Path) -> int:
    """Return the processor time of a control group and what lived below it, in microseconds."""
    (found,) = re.findall(r"^usage_usec (\d+)$", stat.read_text(), re.MULTILINE)
    return int(found)


def _memory(contender: Contender, node: str, file: str, field: str) -> float:
    """Return a field of all processes of the system on a node, from proc(5), in MiB."""
    pattern = re.compile(rf"^{field}:\s+(\d+) kB$", re.MULTILINE)
    texts = (Path(f"/proc/{pid}/{file}").read_text()
             for pid in contender.lab.nodes[node].cgroup.below(contender.part).pids())
    return round(sum(int(one) for text in texts for one in pattern.findall(text)) / _KIB, 2)
