"""Configuration files for the tests: one that is right, and what can be changed in it."""

from hamgr.config.document import Reading, parse
from hamgr.config.faults import Fault

GOOD = """\
[cluster]
name = "crm"
zookeeper = ["10.0.0.11:2181", "10.0.0.12:2181", "10.0.0.13:2181"]
key_file = "/etc/hamgr/cluster.key"

[heartbeat]
interval = "100ms"

[address]
valid_lft = "2s"

[node.n1]
addresses = ["10.0.0.11", "10.1.0.11"]
[node.n2]
addresses = ["10.0.0.12", "10.1.0.12"]
[node.n3]
addresses = ["10.0.0.13", "10.1.0.13"]
witness = true

[group.crm]
nodes = ["n1", "n2"]
vips = ["10.0.0.100/24"]
stop_within = "0s"
[[group.crm.service]]
name = "app"
promote = "/usr/local/lib/crm/promote"
demote = "/usr/local/lib/crm/demote"
monitor = { command = "/usr/local/lib/crm/check" }
"""


def changed(*changes: tuple[str, str]) -> str:
    """GOOD with each old text replaced; every old text must be there once."""
    text = GOOD
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return text


def reading(*changes: tuple[str, str]) -> Reading:
    return parse(changed(*changes))


def faults(*changes: tuple[str, str]) -> list[tuple[int | None, str, str]]:
    return [_plain(fault) for fault in reading(*changes).faults]


def warnings(*changes: tuple[str, str]) -> list[tuple[int | None, str, str]]:
    return [_plain(fault) for fault in reading(*changes).warnings]


def _plain(fault: Fault) -> tuple[int | None, str, str]:
    return fault.line, fault.key, fault.text
