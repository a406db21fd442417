"""Every fault of services and policies: its line, its key, and the words that tell what to do."""

import pytest

from hamgr.adapters.services.ocf.agent import instance
from tests.config.files import faults, reading

NODES = 'nodes = ["n1", "n2"]'
PROMOTE = 'promote = "/usr/local/lib/crm/promote"'
DEMOTE = 'demote = "/usr/local/lib/crm/demote"'
MONITOR = 'monitor = { command = "/usr/local/lib/crm/check" }'
HOOK = f"{PROMOTE}\n{DEMOTE}\n{MONITOR}"

SERVICE = [
    (PROMOTE, 'promote = "bin/promote"', 26, "group.crm.service[0].promote", "not a full path"),
    (PROMOTE, 'promote = "/bin/a && /bin/b"', 26, "group.crm.service[0].promote", "needs a shell"),
    (PROMOTE, "promote = \"/bin/a 'b\"", 26, "group.crm.service[0].promote", "not closed"),
    (PROMOTE, "promote = []", 26, "group.crm.service[0].promote", "is empty"),
    (PROMOTE, 'promote = ["/bin/a", 1]', 26, "group.crm.service[0].promote", "list of strings"),
    (PROMOTE, 'promote = "/bin/a \\u0000"', 26, "group.crm.service[0].promote", "zero byte"),
    (DEMOTE, "", 24, "group.crm.service[0].demote", "is missing; what promote starts"),
    (HOOK, 'driver = "systemd"', 24, "group.crm.service[0].unit", 'write unit = "nginx.service"'),
    (HOOK, 'driver = "systemd"\nunit = "nginx"', 27, "group.crm.service[0].unit", "in full"),
    (HOOK, 'driver = "systemd"\nunit = "a.service"\npromotable = true', 28,
     "group.crm.service[0].promotable", "units are not promoted"),
    (HOOK, 'driver = "ocf"\nagent = "nginx"', 27, "group.crm.service[0].agent", "provider"),
    (HOOK, 'driver = "ocf"', 24, "group.crm.service[0].agent", 'write agent = "ocf:'),
    (HOOK, 'driver = "ocf"\nagent = "ocf:heartbeat:nginx"\nnotify = true', 28,
     "group.crm.service[0].notify", "this service has none"),
    (HOOK, 'driver = "ocf"\nagent = "ocf:heartbeat:nginx"\ncheck_level = -1', 28,
     "group.crm.service[0].check_level", "is negative"),
    (MONITOR, MONITOR + "\nnotify = false", 29, "group.crm.service[0].notify",
     'is for driver = "ocf"'),
    (MONITOR, MONITOR + "\ncheck_level = 10", 29, "group.crm.service[0].check_level",
     'is for driver = "ocf"'),
    (PROMOTE, PROMOTE + '\nstart = "/bin/a"', 24, "group.crm.service[0].stop", "write stop = ..."),
    (MONITOR, MONITOR + "\npromotable = true", 29, "group.crm.service[0].promotable",
     "write start, stop, promote and demote"),
    (MONITOR, MONITOR + '\nunit = "a.service"', 29, "group.crm.service[0].unit",
     'is for driver = "systemd"'),
    (MONITOR, MONITOR + '\non_failure = "fence"', 29, "group.crm.service[0].on_failure",
     'no fence device cuts off n1, n2'),
    (MONITOR, MONITOR + '\ndriver = "magic"', 29, "group.crm.service[0].driver", 'write "hook"'),
    (MONITOR, MONITOR + "\nrestarts = -1", 29, "group.crm.service[0].restarts", "write 0"),
    (MONITOR, MONITOR + '\nwindow = "0s"', 29, "group.crm.service[0].window", "more than 0"),
    (MONITOR, MONITOR + '\npromote_timeout = "0s"', 29, "group.crm.service[0].promote_timeout",
     "more than 0"),
    (MONITOR, MONITOR.replace(" }", ', timeout = "0s" }'), 28,
     "group.crm.service[0].monitor.timeout", "more than 0"),
    (MONITOR, MONITOR + '\n[[group.crm.service]]\nname = "app"\nmonitor = { command = "/bin/a" }',
     30, "group.crm.service[1].name", "another service of this group"),
    (MONITOR, MONITOR + '\n[[group.crm.service]]\nname = "other"', 29, "group.crm.service[1]",
     "does nothing"),
]
OTHER = MONITOR + '\n[group.web]\nnodes = ["n2"]\nvips = ["10.0.0.101/24"]\n'
POLICY = [
    (NODES, NODES + '\nfailback = "soon"', 22, "group.crm.failback", '"after 5m"'),
    (NODES, NODES + "\nprefer = { n1 = 1.5 }", 22, "group.crm.prefer.n1", "a whole number"),
    (NODES, NODES + "\nprefer = { n3 = 5 }", 22, "group.crm.prefer", "n3 is not among the nodes"),
    (NODES, NODES + "\nstickiness = -5", 22, "group.crm.stickiness", "write 0 or more"),
    (NODES, NODES + '\nwith = ["db"]', 22, "group.crm.with", "db is not configured"),
    (NODES, NODES + '\napart = [{ group = "db", score = -5 }]', 22, "group.crm.apart",
     "write more than 0"),
    (MONITOR, OTHER + 'with = ["crm"]\napart = ["crm"]', 32, "group.web.with", "must be apart"),
    (MONITOR, OTHER + 'requires = ["web"]', 32, "group.web.requires", "names the group itself"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"), [*SERVICE, *POLICY],
    ids=lambda value: None if isinstance(value, int) else str(value)[:40])
def test_fault(old: str, new: str, line: int, key: str, words: str) -> None:
    found = faults((old, new))
    matching = [fault for fault in found if fault[:2] == (line, key) and words in fault[2]]
    assert matching, f"not among {found}"
    assert len({fault[1] for fault in found}) == 1
    assert reading((old, new)).document is None


def test_policies_are_read_as_they_are_written() -> None:
    document = reading((NODES, NODES + """
prefer = { n1 = 100, n2 = "never" }
failback = "after 5m"
with = ["web", { group = "db", score = 50 }]
"""), (MONITOR, MONITOR + """
[group.web]
nodes = ["n1", "n2"]
vips = ["10.0.0.101/24"]
[group.db]
nodes = ["n1", "n2"]
vips = ["10.0.0.102/24"]
""")).document
    assert document is not None
    group = document.group["crm"]
    assert [(near.group, near.score < 1_000_000) for near in group.beside] == [
        ("web", False), ("db", True)]
    assert str(group.failback_after) == "5m" and group.prefer["n1"] == 100


OCF = """
[group.{group}]
nodes = ["n2"]
vips = ["10.0.0.{number}/24"]
[[group.{group}.service]]
name = "{name}"
driver = "ocf"
agent = "ocf:heartbeat:Dummy"
"""


def test_services_that_agents_could_not_tell_apart_are_a_fault() -> None:
    def faulty(first: str, second: str) -> list[tuple[int | None, str, str]]:
        return faults((MONITOR, MONITOR + OCF.format(group="a", name=first, number=101)
                       + OCF.format(group="a-b", name=second, number=102)))
    assert faulty("b-c", "d") == []
    (fault,) = faulty("b-c", "c")
    assert fault[1] == "group.a-b.service[0].name"
    assert f"{instance('a-b', 'c')} to resource agents" in fault[2]
