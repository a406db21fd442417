"""What the rest of hamgr takes from a file: values, times, the spec, the digest."""

import tomllib
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from hamgr.config.document import Reading, cluster_spec, digest, load, parse, read
from hamgr.config.faults import ConfigError
from hamgr.config.plain import plain
from hamgr.config.schema import Document
from hamgr.config.values import Command, Server, Span
from hamgr.core.types import MILLISECOND, SECOND
from tests.config.files import GOOD, changed


def document(*changes: tuple[str, str], text: str = "") -> Document:
    reading = parse(text or changed(*changes))
    assert reading.document is not None, reading.faults
    return reading.document


def test_values_have_their_types() -> None:
    found = document(('vips = ["10.0.0.100/24"]',
                      'vips = ["10.0.0.100/24", { address = "2001:db8::9/64", interface = "x" }]'))
    assert found.cluster.zookeeper[0] == Server("10.0.0.11", 2181)
    assert found.node["n1"].addresses == (ip_address("10.0.0.11"), ip_address("10.1.0.11"))
    assert [(vip.address, vip.interface) for vip in found.group["crm"].vips] == [
        (ip_interface("10.0.0.100/24"), ""), (ip_interface("2001:db8::9/64"), "x")]
    service = found.group["crm"].service[0]
    assert service.promote == ("/usr/local/lib/crm/promote",)
    assert service.monitor is not None
    assert service.monitor.interval == 2 * SECOND


@pytest.mark.parametrize(("text", "nanoseconds", "shown"), [
    ("100ms", 100 * MILLISECOND, "100ms"), ("1.5s", 1500 * MILLISECOND, "1500ms"),
    ("60s", 60 * SECOND, "1m"), ("250us", 250_000, "250us"), ("0s", 0, "0s"),
    ("137.5ms", 137_500_000, "137.5ms"), ("0.0001ms", 100, "0.0001ms"),
    ("2 s", 2 * SECOND, "2s"), ("24h", 86_400 * SECOND, "24h"),
])
def test_durations(text: str, nanoseconds: int, shown: str) -> None:
    assert Span.parse(text) == nanoseconds
    assert str(Span.parse(text)) == shown


@given(st.integers(0, 86_400_000_000_000))
def test_a_duration_that_is_shown_reads_the_same(nanoseconds: int) -> None:
    span = Span(nanoseconds)
    assert Span.parse(str(span)) == span


@pytest.mark.parametrize(("text", "host", "port"), [
    ("zk1", "zk1", 2181), ("zk1.example.com:2182", "zk1.example.com", 2182),
    ("[2001:db8::1]:2182", "2001:db8::1", 2182), ("[2001:db8::1]", "2001:db8::1", 2181),
    ("2001:db8::1", "2001:db8::1", 2181),
])
def test_servers(text: str, host: str, port: int) -> None:
    server = Server.parse(text)
    assert server == Server(host, port)
    assert Server.parse(str(server)) == server


def test_a_command_is_split_like_a_shell_does_it_or_taken_as_it_is() -> None:
    assert Command.parse("/bin/echo 'a b' c") == ("/bin/echo", "a b", "c")
    assert Command.parse(["/bin/sh", "-c", "a && b"]) == ("/bin/sh", "-c", "a && b")


def test_times_follow_from_the_interval() -> None:
    times = document(('interval = "100ms"', 'interval = "50ms"')).timing
    assert (times.interval, times.detection) == (50 * MILLISECOND, 172 * MILLISECOND)
    assert times.lease * 1.2 == 162 * MILLISECOND, "2.8 intervals would leave less than 10 ms"
    assert times.claim == 2 * SECOND
    quick = document(('interval = "100ms"', 'interval = "10ms"')).timing
    assert (quick.lease, quick.detection) == (22.5 * MILLISECOND, 37 * MILLISECOND)
    slow = document(('interval = "100ms"', 'interval = "1s"')).timing
    assert slow.claim == 5 * slow.detection


def test_times_that_are_given_are_used() -> None:
    times = document(('interval = "100ms"', 'lease = "250ms"\ndetection = "400ms"\n'
                      '[zookeeper]\nclaim = "3s"')).timing
    assert (times.lease, times.detection) == (250 * MILLISECOND, 400 * MILLISECOND)
    assert times.claim == 3 * SECOND


def test_spec_has_all_that_decisions_depend_on() -> None:
    spec = cluster_spec(document(
        ('nodes = ["n1", "n2"]', 'nodes = ["n2", "n1"]'),
        ('stop_within = "0s"', 'stop_within = "3s"'),
        ('"/usr/local/lib/crm/check"', '"/bin/a", interval = "7s", timeout = "6s"'),
        ("[[group.crm.service]]\n", '[[group.crm.service]]\nrestarts = 9\nwindow = "8s"\n'
         'promote_timeout = "5s"\ndemote_timeout = "4s"\n')))
    assert spec.name == "crm"
    assert [(node.name, node.voter, node.witness) for node in spec.nodes] == [
        ("n1", True, False), ("n2", True, False), ("n3", True, True)]
    (group,) = spec.groups
    assert (group.name, group.nodes, group.stop_within) == ("crm", ("n2", "n1"), 3 * SECOND)
    assert group.has_addresses
    assert not group.fencing_required
    (service,) = group.services
    assert (service.name, service.restarts, service.window) == ("app", 9, 8 * SECOND)
    assert (service.promote_timeout, service.demote_timeout) == (5 * SECOND, 4 * SECOND)
    assert (service.monitor_interval, service.monitor_timeout) == (7 * SECOND, 6 * SECOND)
    assert spec.timing.interval == 100 * MILLISECOND


def test_spec_of_a_group_without_addresses_or_monitor() -> None:
    spec = cluster_spec(document(
        ('vips = ["10.0.0.100/24"]', ""),
        ('monitor = { command = "/usr/local/lib/crm/check" }', "")))
    assert not spec.groups[0].has_addresses
    assert spec.groups[0].services[0].monitor_interval == 0


def test_nodes_stand_in_natural_order_whatever_the_file_says() -> None:
    more = '[node.n10]\naddresses = ["10.0.0.20", "10.1.0.20"]\n[node.n2]'
    assert list(document(("[node.n2]", more)).node) == ["n1", "n2", "n3", "n10"]


SAME = [
    changed(("[cluster]", "# a comment\n[cluster]")),
    changed(('interval = "100ms"', 'interval = "0.1s"')),
    changed(('interval = "100ms"', 'interval = "100ms"\nlease = "280ms"\nport = 7410')),
    changed(('name = "crm"\n', ""), ("key_file", 'name = "crm"\nkey_file')),
    changed(('"/usr/local/lib/crm/promote"', '["/usr/local/lib/crm/promote"]')),
    changed(('["10.0.0.100/24"]', '[{ address = "10.0.0.100/24" }]')),
    changed(('[node.n1]\naddresses = ["10.0.0.11", "10.1.0.11"]\n', ""), (
        "[group.crm]\n", '[node.n1]\naddresses = ["10.0.0.11", "10.1.0.11"]\n[group.crm]\n')),
]
OTHER = [
    changed(('interval = "100ms"', 'interval = "90ms"')),
    changed(('nodes = ["n1", "n2"]', 'nodes = ["n2", "n1"]')),
    changed(("10.0.0.100/24", "10.0.0.101/24")),
    changed(("witness = true", "")),
    changed(("/usr/local/lib/crm/check", "/usr/local/lib/crm/check2")),
]


@pytest.mark.parametrize("text", SAME)
def test_the_spelling_does_not_change_digest_or_spec(text: str) -> None:
    same = document(text=text)
    assert digest(same) == digest(document())
    assert cluster_spec(same) == cluster_spec(document())


def test_every_meaning_has_a_digest_of_its_own() -> None:
    digests = {digest(document(text=text)) for text in [GOOD, *OTHER]}
    assert len(digests) == len(OTHER) + 1
    assert {len(each) for each in digests} == {16}


def test_what_is_shown_is_a_file_of_the_same_meaning() -> None:
    shown = plain(document(), defaults=True)
    again = document(text=tomli_w.dumps(shown))
    assert digest(again) == digest(document())
    assert plain(again, defaults=True) == shown
    assert shown["heartbeat"] == {"interval": "100ms", "lease": "280ms", "detection": "350ms",
                                  "port": 7410}


def test_load_returns_the_document_or_raises_all_faults(tmp_path: Path) -> None:
    file = tmp_path / "hamgr.toml"
    file.write_text(GOOD)
    assert load(file) == document()
    file.write_text(changed(("witness = true", "witness = 1"), ("[address]", "[adress]")))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [fault.key for fault in caught.value.faults] == ["adress", "node.n3.witness"]
    assert str(caught.value).splitlines()[0] == (
        f'{file}:9: adress: unknown key; did you mean "address"?')


def test_a_file_that_is_not_there_or_not_text_is_a_fault(tmp_path: Path) -> None:
    assert only(read(tmp_path / "none")) == (None, "cannot be read: No such file or directory")
    assert only(read(tmp_path)) == (None, "cannot be read: Is a directory")
    file = tmp_path / "latin"
    file.write_bytes(b"[cluster]\nname = \"caf\xe9\"\n")
    line, text = only(read(file))
    assert line == 2
    assert "not UTF-8" in text


@pytest.mark.parametrize(("text", "words"), [
    ("port = " + "1" * 5000, "thousands of digits"),
    ("vips = " + "[" * 20_000 + "]" * 20_000, "far too deep"),
    ("x" + ".x" * 20_000 + " = 1", "far too deep"),
    (f"[node.n{'1' * 5000}]", "cannot be a name"),
], ids=["number", "lists", "tables", "name"])
def test_a_text_that_breaks_the_parser_is_a_fault_too(text: str, words: str) -> None:
    assert any(words in fault.text for fault in parse(f"{GOOD}\n{text}\n").faults)


def only(reading: Reading) -> tuple[int | None, str]:
    (fault,) = reading.faults
    assert reading.document is None
    return fault.line, fault.text


@given(st.recursive(
    st.booleans() | st.integers(-2**63, 2**63 - 1) | st.floats() | st.dates() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20),
    st.sampled_from([
        ("cluster",), ("cluster", "zookeeper"), ("heartbeat", "interval"), ("heartbeat", "port"),
        ("node",), ("node", "n1"), ("node", "n1", "addresses"), ("node", "n1", "witness"),
        ("group", "crm", "vips"), ("group", "crm", "service"), ("group", "crm", "nodes"),
        ("address", "valid_lft"), ("group", "crm"), ("group", "crm", "stop_within")]))
def test_no_value_anywhere_breaks_the_check(value: object, path: tuple[str, ...]) -> None:
    tree = tomllib.loads(GOOD)
    table = tree
    for step in path[:-1]:
        table = table[step]
    table[path[-1]] = value
    reading = parse(tomli_w.dumps(tree))
    assert (reading.document is None) == bool(reading.faults)
