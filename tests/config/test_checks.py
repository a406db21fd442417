"""Every fault and warning: its line, its key, and the words that tell what to do."""

import pytest

from hamgr.config.document import parse
from hamgr.config.values import Span
from tests.config.files import GOOD, changed, faults, reading, warnings

INTERVAL = 'interval = "100ms"'
STOP_WITHIN = 'stop_within = "0s"'
VIPS = 'vips = ["10.0.0.100/24"]'
NODES = 'nodes = ["n1", "n2"]'
PROMOTE = 'promote = "/usr/local/lib/crm/promote"'
DEMOTE = 'demote = "/usr/local/lib/crm/demote"'
MONITOR = 'monitor = { command = "/usr/local/lib/crm/check" }'
HOOK = f"{PROMOTE}\n{DEMOTE}\n{MONITOR}"
SERVERS = 'zookeeper = ["10.0.0.11:2181", "10.0.0.12:2181", "10.0.0.13:2181"]'
N2 = 'addresses = ["10.0.0.12", "10.1.0.12"]'
N3 = '[node.n3]\naddresses = ["10.0.0.13", "10.1.0.13"]\nwitness = true'
NAME = 'name = "crm"'


def test_the_file_that_all_cases_change_is_right() -> None:
    assert (faults(), warnings()) == ([], [])


FORM = [
    # old, new, line, key, words of the sentence
    (NAME, 'nmae = "crm"', 2, "cluster.nmae", 'unknown key; did you mean "name"?'),
    (NAME, 'name = "crm"\ncolour = 1', 3, "cluster.colour",
     "unknown key; known here: name, zookeeper, key_file"),
    ("[address]", "[adress]", 9, "adress", 'did you mean "address"?'),
    (MONITOR, MONITOR.replace("{ ", '{ intervall = "1s", '), 28,
     "group.crm.service[0].monitor.intervall", 'did you mean "interval"?'),
    (NAME, "", 1, "cluster.name", 'is missing; write name = "crm"'),
    (NAME, "name = 7", 2, "cluster.name", '7 is not text; write it in quotes: "7"'),
    (MONITOR, "monitor = {}", 28, "group.crm.service[0].monitor.command", "is missing; write"),
    (INTERVAL, "interval = 100", 7, "heartbeat.interval", 'has no unit; write a duration such as'),
    (INTERVAL, 'interval = "100"', 7, "heartbeat.interval", "is not a duration; write a number"),
    (INTERVAL, 'interval = "100 years"', 7, "heartbeat.interval", "us, ms, s, m, h"),
    (INTERVAL, 'interval = "-1s"', 7, "heartbeat.interval", "is not a duration"),
    (INTERVAL, 'interval = "25h"', 7, "heartbeat.interval", "longer than a day"),
    (INTERVAL, 'port = "7410"', 7, "heartbeat.port", "not a whole number; write one, without"),
    (INTERVAL, "port = true", 7, "heartbeat.port", "not a whole number"),
    ("witness = true", 'witness = "yes"', 18, "node.n3.witness", "neither true nor false"),
    ("[heartbeat]\n", "heartbeat = 1\n[zookeeper]\n", 6, "cluster.heartbeat", "unknown key"),
    (NODES, 'nodes = "n1"', 21, "group.crm.nodes", "must be a list; write nodes = [...]"),
    ("[[group.crm.service]]", "[group.crm.service]", 24, "group.crm.service",
     "write [[group.crm.service]], with two brackets"),
    (N3, "[node]\nn3 = 1", 17, "node.n3", "must be a table; write [node.n3]"),
]
SERVER = [
    (SERVERS, 'zookeeper = ["zk1:0"]', 3, "cluster.zookeeper[0]", "between 1 and 65535"),
    (SERVERS, 'zookeeper = ["zk1:2181/hamgr"]', 3, "cluster.zookeeper[0]", "has no port"),
    (SERVERS, 'zookeeper = ["zk 1:2181"]', 3, "cluster.zookeeper[0]", "does not name a server"),
    (SERVERS, 'zookeeper = ["zk1..example:2181"]', 3, "cluster.zookeeper[0]",
     "does not name a server"),
    (SERVERS, f'zookeeper = ["{"z" * 64}:2181"]', 3, "cluster.zookeeper[0]",
     "does not name a server"),
    (SERVERS, f'zookeeper = ["zk1:{"2" * 5000}"]', 3, "cluster.zookeeper[0]",
     "between 1 and 65535"),
    (SERVERS, 'zookeeper = ["[zk1]:2181"]', 3, "cluster.zookeeper[0]", "does not name a server"),
    (SERVERS, "zookeeper = [2181]", 3, "cluster.zookeeper[0]", 'write it as "host:port"'),
    (SERVERS, "zookeeper = []", 3, "cluster.zookeeper", "names no server"),
    (SERVERS, 'zookeeper = ["zk1", "zk2", "zk1:2181"]', 3, "cluster.zookeeper[2]", "named twice"),
    ('"/etc/hamgr/cluster.key"', '"cluster.key"', 4, "cluster.key_file", "begins with /"),
]
NAMES = [
    (NAME, 'name = "CRM"', 2, "cluster.name", "write 1 to 32 of a-z"),
    (NAME, 'name = ".."', 2, "cluster.name", "beginning with a letter or a digit"),
    (NAME, f'name = "{"x" * 33}"', 2, "cluster.name", "1 to 32"),
    ('"app"', '"a/b"', 25, "group.crm.service[0].name", "cannot be a name"),
    ("[group.crm]\n", '[group."a b"]\nnodes = ["n1", "n2"]\nvips = ["10.0.0.9/24"]\n[group.crm]\n',
     20, 'group."a b"', "cannot be a name"),
]
TIMES = [
    (INTERVAL, 'interval = "4ms"', 7, "heartbeat.interval", "at least 5ms"),
    (INTERVAL, 'interval = "0s"', 7, "heartbeat.interval", "at least 5ms"),
    (INTERVAL, 'interval = "10001ms"', 7, "heartbeat.interval", "must be at most 10s"),
    (INTERVAL, 'interval = "10h"', 7, "heartbeat.interval", "interval (10h) must be at most 10s"),
    (INTERVAL, 'detection = "11m"', 7, "heartbeat.detection", "detection (11m) must be at most 10"),
    (INTERVAL, 'lease = "150ms"', 7, "heartbeat.lease", "at least two intervals (200ms)"),
    (INTERVAL, 'lease = "0s"', 7, "heartbeat.lease", "at least two intervals"),
    (INTERVAL, 'detection = "345ms"', 7, "heartbeat.detection", "because an heir acts when"),
    (INTERVAL, 'lease = "400ms"', 6, "heartbeat.detection", "at least 1.2 x lease + 10ms (490ms)"),
    ("[address]", '[zookeeper]\nclaim = "1s"\n[address]', 10, "zookeeper.claim",
     "five times detection"),
    ("[address]", '[zookeeper]\nsession = "500ms"\n[address]', 10, "zookeeper.session",
     "at least 1s"),
    ('valid_lft = "2s"', 'valid_lft = "2500ms"', 10, "address.valid_lft", "whole number of sec"),
    ('valid_lft = "2s"', 'valid_lft = "1s"', 9, "address.renewal", "at most a third of valid_lft"),
    ('valid_lft = "2s"', 'renewal = "0s"', 10, "address.renewal", "more than 0"),
    (INTERVAL, "port = 0", 7, "heartbeat.port", "between 1 and 65535"),
    (INTERVAL, "port = 65536", 7, "heartbeat.port", "between 1 and 65535"),
]
NODE = [
    (N2, 'addresses = ["n2.example.com"]', 15, "node.n2.addresses[0]", "must not wait for DNS"),
    (N2, 'addresses = ["10.0.0.12/24", "10.1.0.12"]', 15, "node.n2.addresses[0]", "without a pref"),
    (N2, 'addresses = ["0.0.0.0", "10.1.0.12"]', 15, "node.n2.addresses[0]", "of one machine"),
    (N2, 'addresses = ["fe80::1", "10.1.0.12"]', 15, "node.n2.addresses[0]", "link-local"),
    (N2, 'addresses = ["10.0.0.12", "127.0.0.1"]', 15, "node.n2.addresses[1]",
     "reaches this machine alone"),
    (N2, 'addresses = ["10.0.0.12", "0.1.2.3"]', 15, "node.n2.addresses[1]", "of one machine"),
    (N2, 'addresses = ["10.0.0.12", "255.255.255.255"]', 15, "node.n2.addresses[1]",
     "of one machine"),
    (N2, "addresses = []", 15, "node.n2.addresses", "is empty; give at least one"),
    (N2, 'addresses = ["10.0.0.12"]', 15, "node.n2.addresses", "lists 1, where the others list 2"),
    (N2, 'addresses = ["10.0.0.12", "2001:db8::2"]', 15, "node.n2.addresses[1]", "ring 2 is IPv4"),
    (N2, 'addresses = ["10.0.0.11", "10.1.0.12"]', 15, "node.n2.addresses[0]", "of n1 already"),
    (N2, 'addresses = ["::ffff:10.0.0.11", "10.1.0.12"]', 15, "node.n2.addresses[0]",
     'is an IPv4 address in the form of IPv6; write "10.0.0.11"'),
    (N2, 'addresses = ["10.0.0.12", "10.0.0.12"]', 15, "node.n2.addresses[1]", "of n2 already"),
    ("witness = true", "witness = true\nvoter = false", 19, "node.n3.voter", "does nothing"),
]
GROUP = [
    (NODES, 'nodes = ["n1", "nn2"]', 21, "group.crm.nodes[1]", 'did you mean "n2"?'),
    (NODES, 'nodes = ["n1", "zeus"]', 21, "group.crm.nodes[1]", "write a table [node.zeus]"),
    (NODES, 'nodes = ["n1", "n3"]', 21, "group.crm.nodes[1]", "is a witness"),
    (NODES, 'nodes = ["n1", "n1"]', 21, "group.crm.nodes[1]", "named twice"),
    (NODES, "nodes = []", 21, "group.crm.nodes", "is empty; name the nodes"),
    (NODES, NODES + '\nfencing = "required"', 22, "group.crm.fencing",
     "no fence device cuts off n1, n2"),
    (NODES, NODES + '\nfencing = "stonith"', 22, "group.crm.fencing",
     'write "lease" or "required"'),
    (NODES, NODES + '\nmode = "everywhere"', 23, "group.crm.vips", "every node at once"),
    (NODES, NODES + '\nmode = "both"', 22, "group.crm.mode", '"active-passive" or "everywhere"'),
    (NODES, NODES + '\nfailback = "always"', 22, "group.crm.failback", 'write "never"'),
    (VIPS, 'vips = ["10.0.0.100"]', 22, "group.crm.vips[0]", 'write "10.0.0.100/24"'),
    (VIPS, 'vips = ["10.0.0/24"]', 22, "group.crm.vips[0]", "not an address with a prefix length"),
    (VIPS, "vips = [{ interface = 'eth0' }]", 22, "group.crm.vips[0].address", "is missing"),
    (VIPS, 'vips = ["224.0.0.1/24"]', 22, "group.crm.vips[0]", "write a unicast address"),
    (VIPS, 'vips = ["127.0.0.1/8"]', 22, "group.crm.vips[0]", "write a unicast address"),
    (VIPS, 'vips = ["0.0.0.5/24"]', 22, "group.crm.vips[0]", "write a unicast address"),
    (VIPS, 'vips = ["255.255.255.255/32"]', 22, "group.crm.vips[0]", "write a unicast address"),
    (VIPS, 'vips = ["240.0.0.1/24"]', 22, "group.crm.vips[0]", "write a unicast address"),
    (VIPS, 'vips = ["ff02::5/64"]', 22, "group.crm.vips[0]", "write a unicast address"),
    (VIPS, 'vips = ["10.0.0.5/0"]', 22, "group.crm.vips[0]", 'write "10.0.0.5/24"'),
    (VIPS, 'vips = ["2001:db8::5/0"]', 22, "group.crm.vips[0]", "::5/64"),
    (VIPS, 'vips = ["10.0.0.12/24"]', 22, "group.crm.vips[0]", "the address of node n2 already"),
    (VIPS, 'vips = ["10.0.0.9/24", "10.0.0.9/16"]', 22, "group.crm.vips[1]",
     "a VIP of group crm already"),
    (VIPS, 'vips = ["10.0.0.0/24"]', 22, "group.crm.vips[0]", "is the network of its subnet"),
    (VIPS, 'vips = ["10.0.0.255/24"]', 22, "group.crm.vips[0]", "is the broadcast address"),
    (VIPS, 'vips = [{ address = "2001:db8::/64", interface = "eth0" }]', 22, "group.crm.vips[0]",
     "subnet-router anycast"),
    (VIPS, 'vips = ["fe80::7/64"]', 22, "group.crm.vips[0]", "which every interface could carry"),
    (VIPS, 'vips = ["fe80::7%eth0/64"]', 22, "group.crm.vips[0]", 'interface = "eth0"'),
    (VIPS, 'vips = [{ address = "10.0.0.9/24", interface = "a-name-too-long0" }]', 22,
     "group.crm.vips[0].interface", "is not the name of an interface"),
]
@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [*FORM, *SERVER, *NAMES, *TIMES, *NODE, *GROUP],
    ids=lambda value: None if isinstance(value, int) else str(value)[:40])
def test_fault(old: str, new: str, line: int, key: str, words: str) -> None:
    found = faults((old, new))
    matching = [fault for fault in found if fault[:2] == (line, key) and words in fault[2]]
    assert matching, f"not among {found}"
    assert reading((old, new)).document is None


@pytest.mark.parametrize(("old", "new", "key"), [
    (case[0], case[1], case[3]) for case in [*SERVER, *NAMES, *TIMES, *NODE, *GROUP]])
def test_one_mistake_is_one_fault(old: str, new: str, key: str) -> None:
    assert [fault[1] for fault in faults((old, new))] == [key]


def test_nodes_that_all_live_on_one_machine_may_be_on_loopback() -> None:
    text = GOOD.replace("10.1.0.", "127.1.0.")
    assert parse(text).faults == ()


def test_the_longest_times_can_be_written_out_again() -> None:
    document = reading((INTERVAL, 'interval = "10s"\ndetection = "10m"')).document
    assert document is not None
    assert reading((INTERVAL, f'interval = "10s"\ndetection = "10m"\n[zookeeper]\nclaim = "'
                    f'{Span(document.timing.claim)}"')).faults == ()


def without_services(text: str) -> str:
    return text.partition("[[group")[0]


WARNINGS = [
    (SERVERS, 'zookeeper = ["zk1:2181"]', 3, "cluster.zookeeper", "an ensemble of three"),
    (SERVERS, 'zookeeper = ["zk1:2181", "zk2:2181"]', 3, "cluster.zookeeper", "odd number"),
    (INTERVAL, 'lease = "200ms"\ndetection = "300ms"', 8, "heartbeat.detection",
     'just 3 intervals, so a heartbeat that comes a little late counts as lost; write "350ms"'),
    (N3, "", 12, "node", "two voters: when one dies"),
    (N3, N3 + '\n[node.n4]\naddresses = ["10.0.0.14", "10.1.0.14"]', 12, "node",
     "4 voters survive no more losses than 3"),
    (NODES, 'nodes = ["n1"]', 21, "group.crm.nodes", "nothing takes over when it dies"),
    (VIPS, 'vips = ["10.9.0.1/24"]', 22, "group.crm.vips[0]", "no address of n1, n2 above lies in"),
    (STOP_WITHIN, "", 20, "group.crm.stop_within", "is missing, so app may be started on another "
     "node while one that lost its lease is still stopping it; write the time by which it has "
     'certainly stopped, such as stop_within = "30s" (the other node waits so long), or "0s", '
     "which says that two may overlap for that time"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), WARNINGS)
def test_warning(old: str, new: str, line: int, key: str, words: str) -> None:
    found = warnings((old, new))
    assert [fault[:2] for fault in found] == [(line, key)]
    assert words in found[0][2]
    assert reading((old, new)).document is not None, "a warning does not fail"


def test_an_interface_that_is_named_needs_no_address_in_the_subnet() -> None:
    assert warnings((VIPS, 'vips = [{ address = "10.9.0.1/24", interface = "eth0" }]')) == []


@pytest.mark.parametrize("changes", [
    [(STOP_WITHIN, 'stop_within = "30s"')], [(STOP_WITHIN, ""), (PROMOTE, ""), (DEMOTE, "")]],
    ids=["a time", "nothing to stop"])
def test_what_is_said_of_stopping_or_need_not_be_is_no_warning(
        changes: list[tuple[str, str]]) -> None:
    assert warnings(*changes) == []


def test_hosts_of_the_smallest_subnets_are_hosts() -> None:
    for vip in ("10.0.0.100/32", "10.0.0.100/31", "2001:db8::/127", "2001:db8::/128"):
        entry = f'vips = [{{ address = "{vip}", interface = "eth0" }}]'
        assert faults((VIPS, entry)) == [], vip


def test_a_group_without_anything_to_move_is_refused() -> None:
    bare = without_services(changed((VIPS, "")))
    (fault,) = parse(bare).faults
    assert (fault.line, fault.key) == (20, "group.crm")
    assert "nothing to move" in fault.text


def test_no_group_is_a_warning() -> None:
    (warning,) = parse(GOOD.partition("[group")[0]).warnings
    assert "nothing is guarded" in warning.text


def test_at_most_seven_vote() -> None:
    def nodes(count: int, silent: int) -> str:
        return "".join(
            f'[node.m{at}]\naddresses = ["10.0.0.{at + 50}", "10.1.0.{at + 50}"]\n'
            + ("voter = false\n" if at < silent else "") for at in range(count))

    (fault,) = parse(changed((N3, N3 + "\n" + nodes(5, 0)))).faults
    assert fault.key == "node"
    assert "8 voters" in fault.text
    assert "set voter = false on 1 or more" in fault.text
    assert parse(changed((N3, N3 + "\n" + nodes(12, 8)))).faults == ()
    (fault,) = [each for each in parse(changed(
        (N3, ""), ('"10.1.0.11"]\n', '"10.1.0.11"]\nvoter = false\n'),
        ('"10.1.0.12"]\n', '"10.1.0.12"]\nvoter = false\n'))).faults]
    assert "no node votes" in fault.text


def test_nodes_whose_names_fill_a_heartbeat_are_refused() -> None:
    def nodes(count: int, length: int) -> str:
        return "".join(f'[node.{"m" * (length - 2)}{at:02}]\nvoter = false\n'
                       f'addresses = ["10.0.0.{at + 50}", "10.1.0.{at + 50}"]\n'
                       for at in range(count))

    assert parse(changed((N3, N3 + "\n" + nodes(12, 20)))).faults == ()
    (fault,) = parse(changed((N3, N3 + "\n" + nodes(24, 32)))).faults
    assert fault.key == "node"
    assert "27 nodes do not fit into one heartbeat; use shorter names" in fault.text


def test_two_groups_cannot_have_one_vip() -> None:
    second = '\n[group.b]\nnodes = ["n1", "n2"]\nvips = ["10.0.0.100/24"]\n'
    (fault,) = parse(GOOD + second).faults
    assert fault.key == "group.crm.vips[0]"
    assert "a VIP of group b already" in fault.text


def test_all_faults_are_found_at_once_and_in_the_order_of_the_file() -> None:
    mistakes = [SERVER[0], TIMES[2], NODE[4], GROUP[0]]
    found = faults(*((case[0], case[1]) for case in mistakes))
    assert [fault[1] for fault in found] == [case[3] for case in mistakes]


def test_an_empty_file_says_what_is_needed() -> None:
    found = parse("").faults
    assert [(fault.line, fault.key) for fault in found] == [
        (None, "cluster.name"), (None, "cluster.zookeeper"), (None, "cluster.key_file"),
        (None, "node")]


def test_a_misspelt_key_is_checked_as_what_was_meant() -> None:
    found = faults(("witness = true", "witnes = true"), (NODES, 'nodes = ["n1", "n3"]'))
    assert [fault[1] for fault in found] == ["node.n3.witnes", "group.crm.nodes[1]"]


PLACES = [
    (VIPS, """vips = [
    "10.0.0.300/24",
    "10.0.0.5/24",
    "10.0.0.0/24",
]""", [(23, "group.crm.vips[0]"), (25, "group.crm.vips[2]")]),
    (NODES, """nodes = [
    1,
    "n1",
    "zeus",
    "n1",
]""", [(22, "group.crm.nodes[0]"), (24, "group.crm.nodes[2]"), (25, "group.crm.nodes[3]")]),
    (SERVERS, """zookeeper = [
    "zk 1",
    "zk2",
    "zk2",
]""", [(4, "cluster.zookeeper[0]"), (6, "cluster.zookeeper[2]")]),
    (N2, """addresses = [
    "n2",
    "10.1.0.12",
]
[node.n4]
addresses = [
    "n4",
    "2001:db8::4",
]
[node.n5]
addresses = [
    "n5",
    "10.1.0.12",
]""", [(16, "node.n2.addresses[0]"), (21, "node.n4.addresses[0]"), (22, "node.n4.addresses[1]"),
       (26, "node.n5.addresses[0]"), (27, "node.n5.addresses[1]")]),
    (STOP_WITHIN, """stop_within = "0s"
service = [
    "x",
    {name="a", promote="/bin/true"},
    {name="a b", driver="magic", promote="/bin/true", demote="/bin/true"},
]""", [(25, "group.crm.service[0]"), (26, "group.crm.service[1].demote"),
       (27, "group.crm.service[2].name"), (27, "group.crm.service[2].driver")]),
    (VIPS, "vips = [1, 2, 3, 4, '10.0.0.0/24', '10.0.0.255/24', '10.0.0.11/24', 'fe80::1/64']",
     [(22, f"group.crm.vips[{at}]") for at in range(8)]),
]


@pytest.mark.parametrize(("old", "new", "told"), PLACES, ids=[
    "vips", "nodes", "servers", "addresses", "services", "four bad ones before"])
def test_what_is_rejected_in_a_list_moves_and_hides_nothing_after_it(
        old: str, new: str, told: list[tuple[int, str]]) -> None:
    text = changed((old, new)) if old != STOP_WITHIN else without_services(changed((old, new)))
    found = [(fault.line, fault.key) for fault in parse(text).faults]
    assert sorted(found) == sorted(told)


@pytest.mark.parametrize(("changes", "keys"), [
    ((INTERVAL, 'interval = 100\nlease = "300ms"\ndetection = "310ms"'),
     ["heartbeat.interval", "heartbeat.detection"]),
    ((INTERVAL, 'interval = "100ms"\nlease = "150ms"\ndetection = 1'),
     ["heartbeat.lease", "heartbeat.detection"]),
    ((INTERVAL, 'interval = "100ms"\nlease = "150ms"\nport = "a"'),
     ["heartbeat.lease", "heartbeat.port"]),
    ((N3, N3 + '\nvoter = false\n[node.n4]\naddresses = ["x", "10.1.0.14"]'),
     ["node.n3.voter", "node.n4.addresses[0]"]),
], ids=["no interval", "no detection", "no port", "no address"])
def test_a_fault_is_told_whose_own_values_can_be_read(
        changes: tuple[str, str], keys: list[str]) -> None:
    assert [fault[1] for fault in faults(changes)] == keys


@pytest.mark.parametrize(("old", "new", "remedy"), [
    ("[[group.crm.service]]", "service = [1]\n[[group.crm.services]]",
     "write [[group.crm.service]] and its keys below it"),
    (MONITOR, 'monitor = "/bin/a"', "write monitor = { ... } with its keys in it"),
])
def test_the_table_to_write_is_toml(old: str, new: str, remedy: str) -> None:
    assert remedy in " ".join(fault[2] for fault in faults((old, new)))


@pytest.mark.parametrize("changes", [
    (INTERVAL, 'interval = "1 s 5"\nlease = "1s"'),
    (N2, 'addresses = ["10.0.0.12", "10.1.0.x"]'),
    (SERVERS, 'zookeeper = ["zk1", "zk 2"]'),
    ("[node.n2]\n" + N2, "[node]\nn2 = 1"),
    (NODES, 'nodes = ["n1", 2]'),
    ('valid_lft = "2s"', 'valid_lft = 9\nrenewal = "3s"'),
])
def test_what_rests_on_a_value_that_cannot_be_used_is_not_said(changes: tuple[str, str]) -> None:
    assert len(faults(changes)) == 1
    assert warnings(changes) == []
