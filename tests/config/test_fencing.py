"""Fence devices in the file: what is refused, with which remedy, and what the core is given."""

from pathlib import Path

import msgspec
import pytest
import tomli_w

from hamgr.config.change import differences
from hamgr.config.document import cluster_spec, digest, parse
from hamgr.config.forecast import forecast
from hamgr.config.plain import plain
from hamgr.config.schema import Document
from hamgr.config.secret import read_secret
from hamgr.core.records import Plan, Voters
from hamgr.core.spec import DeviceSpec
from hamgr.core.types import SECOND
from hamgr.devices import SecretFile, devices
from tests.config.files import GOOD, changed

NODES = 'nodes = ["n1", "n2"]'
REQUIRED = changed((NODES, NODES + '\nfencing = "required"'))
IPMI = """
[fence.ipmi-n1]
agent = "fence_ipmilan"
nodes = ["n1"]
options = { ip = "10.9.0.11", lanplus = "1" }
secrets = { password = "/etc/hamgr/ipmi.password" }
delay = "5s"
delay_max = "2s"
"""
PDU = """
[fence.pdu]
command = ["/usr/local/sbin/cut-off", "--now"]
nodes = { n1 = "3", n2 = "4" }
level = 2
retries = 0
timeout = "20s"
action = "off"
status = false
"""


def document(text: str) -> Document:
    reading = parse(text)
    assert reading.document is not None, reading.faults
    return reading.document


def found(text: str) -> list[tuple[str, str]]:
    return [(fault.key, fault.text) for fault in parse(text).faults]


def test_devices_are_given_to_the_core_in_its_own_units() -> None:
    reading = parse(REQUIRED + IPMI + PDU)
    assert reading.document is not None and reading.warnings == ()
    spec = cluster_spec(reading.document)
    assert spec.devices == (
        DeviceSpec(name="ipmi-n1", nodes=("n1",), delay=5 * SECOND, delay_max=2 * SECOND),
        DeviceSpec(name="pdu", nodes=("n1", "n2"), level=2, retries=0, timeout=20 * SECOND,
                   tells=False, reboot=False))
    assert spec.fences_per_hour == 5
    assert msgspec.json.decode(msgspec.json.encode(spec)), "records and status carry it"
    (crm,) = spec.groups
    assert crm.fencing_required


def test_devices_are_given_to_the_adapter_without_their_secrets() -> None:
    ipmi, pdu = devices(document(REQUIRED + IPMI + PDU))
    assert (ipmi.argv, pdu.argv) == (("/usr/sbin/fence_ipmilan",),
                                     ("/usr/local/sbin/cut-off", "--now"))
    assert (ipmi.plugs, pdu.plugs) == ({"n1": ""}, {"n1": "3", "n2": "4"})
    assert ipmi.secrets == {"password": SecretFile("/etc/hamgr/ipmi.password")}


def test_what_holds_for_all_devices_and_for_a_node() -> None:
    more = '\n[fencing]\nmax_per_hour = 2\ntest_every = "90d"\n'
    text = (REQUIRED + IPMI + PDU).replace("witness = true", 'witness = true\nstart = "clean"')
    read = document(text + more)
    spec = cluster_spec(read)
    assert spec.fences_per_hour == 2
    assert [node.start_clean for node in spec.nodes] == [False, False, True]
    assert str(read.fencing.test_every) == "90d"


BAD = [
    (('agent = "fence_ipmilan"\n', ""), "fence.ipmi-n1.agent", 'write agent = "fence_ipmilan"'),
    (("fence_ipmilan", "ipmilan"), "fence.ipmi-n1.agent", "is no fence agent"),
    (('agent = "fence_ipmilan"', 'agent = "fence_ipmilan"\ncommand = "/bin/true"'),
     "fence.ipmi-n1", "both agent and command"),
    (('nodes = ["n1"]', 'nodes = ["nn1"]'), "fence.ipmi-n1.nodes", 'did you mean "n1"?'),
    (('nodes = ["n1"]', "nodes = []"), "fence.ipmi-n1.nodes", "is empty"),
    (('nodes = ["n1"]\n', ""), "fence.ipmi-n1.nodes", 'write nodes = ["n1"]'),
    (('nodes = ["n1"]', "nodes = { n1 = 3 }"), "fence.ipmi-n1.nodes", "in quotes"),
    (('n2 = "4"', 'n2 = "3"'), "fence.pdu.nodes", "takes the others along"),
    (('lanplus = "1"', 'action = "off"'), "fence.ipmi-n1.options.action", "hamgr says what to do"),
    (('lanplus = "1"', 'plug = "3"'), "fence.ipmi-n1.options.plug", '{ n1 = "3" }'),
    (('lanplus = "1"', 'port = "3"'), "fence.ipmi-n1.options.port", "ipport"),
    (('lanplus = "1"', 'user = "a\\nb"'), "fence.ipmi-n1.options.user", "one line"),
    (('"/etc/hamgr/ipmi.password"', '"hunter2"'), "fence.ipmi-n1.secrets.password",
     "not what it is"),
    (('lanplus = "1"', 'password_script = "/x"'), "", ""),
    (("level = 2", "level = 0"), "fence.pdu.level", "from 1"),
    (("retries = 0", "retries = -1"), "fence.pdu.retries", "write 0"),
    (('timeout = "20s"', 'timeout = "0s"'), "fence.pdu.timeout", "more than 0"),
    (('action = "off"', 'action = "cycle"'), "fence.pdu.action", 'write "reboot" or "off"'),
    (('nodes = { n1 = "3", n2 = "4" }', 'nodes = { n1 = "3" }'), "group.crm.fencing",
     'cuts off n2, so nobody would ever take over from there; write a table [fence.NAME] with '
     'nodes = ["n2"]'),
    (("[fence.pdu]", "[fence.PDU]"), "fence.PDU", "cannot be a name"),
    (('[fence.pdu]', '[fencing]\nmax_per_hour = 0\n[fence.pdu]'), "fencing.max_per_hour",
     "from 1"),
    (('[fence.pdu]', '[fencing]\ntest_every = "500d"\n[fence.pdu]'), "fencing.test_every",
     "longer than a year"),
    (("witness = true", 'start = "dirty"'), "node.n3.start", 'write "auto" or "clean"'),
]


@pytest.mark.parametrize(("change", "key", "words"), BAD, ids=[str(key) for _, key, _ in BAD])
def test_what_is_wrong_is_told_with_the_remedy(change: tuple[str, str], key: str,
                                               words: str) -> None:
    text = REQUIRED + IPMI + PDU
    assert text.count(change[0]) == 1
    faults = found(text.replace(*change))
    assert len(faults) == bool(key)
    for where, what in faults:
        assert where == key and words in what


@pytest.mark.parametrize("name", ["password", "passwd", "snmp_priv_passwd", "secret_key", "token",
                                  "community", "apikey"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(name: str) -> None:
    text = REQUIRED + PDU + IPMI.replace("password = ", "login = ").replace(
        'lanplus = "1"', f'{name} = "hunter2"')
    ((key, what),) = found(text)
    assert key == f"fence.ipmi-n1.options.{name}" and "hunter2" not in what
    assert f'secrets = {{ {name} = "/etc/hamgr/ipmi-n1.{name}" }}' in what


def test_a_secret_is_written_in_one_place() -> None:
    text = (REQUIRED + PDU + IPMI).replace("password =", "lanplus =")
    assert found(text) == [("fence.ipmi-n1.secrets.lanplus",
                            "is in options as well; remove it there")]


def test_devices_that_nobody_waits_for_are_a_warning() -> None:
    reading = parse(GOOD + PDU)
    (warning,) = reading.warnings
    assert warning.key == "fence" and 'fencing = "required"' in warning.text


def test_nodes_that_a_device_cannot_tell_apart_are_a_warning() -> None:
    text = REQUIRED + PDU.replace('{ n1 = "3", n2 = "4" }', '["n1", "n2"]')
    (warning,) = parse(text).warnings
    assert warning.key == "fence.pdu.nodes" and "cannot tell them apart" in warning.text


def test_a_list_and_a_table_of_nodes_without_plugs_are_the_same() -> None:
    listed = document(REQUIRED + PDU.replace('{ n1 = "3", n2 = "4" }', '["n1", "n2"]'))
    table = document(REQUIRED + PDU.replace('{ n1 = "3", n2 = "4" }', '{ n1 = "", n2 = "" }'))
    assert digest(listed) == digest(table)
    assert plain(table, defaults=False)["fence"]["pdu"]["nodes"] == ["n1", "n2"]


def test_what_is_shown_with_all_defaults_is_the_same_document() -> None:
    read = document(REQUIRED + IPMI + PDU)
    shown = tomli_w.dumps(plain(read, defaults=True))
    assert 'test_every = "30d"' in shown
    again = document(shown)
    assert (again.fence, again.fencing) == (read.fence, read.fencing)
    assert digest(again) == digest(read)


def test_what_would_come_of_a_change_is_foretold() -> None:
    before = GOOD + "[fence.old]\ncommand = '/bin/true'\nnodes = ['n1']\n" + PDU
    after = REQUIRED + IPMI + PDU.replace("20s", "30s") + "[fencing]\nmax_per_hour = 1\n"
    consequences = forecast(document(before), document(after), Plan(
        revision=1, by="n1", voters=Voters(number=1, names=("n1", "n2", "n3")),
        times=document(before).timing), ("n1", "n2", "n3"))
    assert [one.text for one in consequences] == [
        "crm waits for a fence device from the next take-over on",
        "fence device old goes: it is asked no more",
        "fence device pdu is asked so from its next action on",
        "fence device ipmi-n1 is asked so from its next action on",
        "fencing: counts at once"]
    assert {one.what for one in consequences} == {"counts"}


def test_a_difference_is_told_by_its_key() -> None:
    (one,) = differences(document(REQUIRED + PDU), document(
        REQUIRED + PDU.replace('n2 = "4"', 'n2 = "5"')))
    assert (one.key, one.old, one.new) == ("fence.pdu.nodes.n2", "4", "5")


# ---- secrets on this machine

def test_a_secret_is_one_line_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("c0rrect h0rse\n")
    file.chmod(0o600)
    assert read_secret(str(file)) == "c0rrect h0rse"


@pytest.mark.parametrize(("content", "mode", "why"), [
    (b"secret\n", 0o640, "chmod 600"), (b"a\nb\n", 0o600, "one line"), (b"", 0o600, "one line"),
    (b" a\n", 0o600, "without blanks"), (b"\xff\n", 0o600, "UTF-8")])
def test_a_secret_that_cannot_be_used_is_a_fault_where_files_are_looked_at(
        tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(mode)
    text = REQUIRED + PDU + IPMI.replace("/etc/hamgr/ipmi.password", str(file))
    assert parse(text).faults == (), "without files"
    (fault,) = parse(text, files=True).faults
    assert fault.key == "fence.ipmi-n1.secrets.password"
    assert why in fault.text and str(file) in fault.text
    if content == b"secret\n":
        assert "secret\n" not in fault.text


@pytest.mark.parametrize("written", ["credential:ipmi", "%d/ipmi"])
def test_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                 written: str) -> None:
    (tmp_path / "ipmi").write_text("secret")
    (tmp_path / "ipmi").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(written) == "secret"
    assert found(REQUIRED + PDU + IPMI.replace("/etc/hamgr/ipmi.password", written)) == []


def test_a_secret_that_cannot_be_read_is_told_in_words_to_the_adapter(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot be read: No such file or directory; make it with"):
        SecretFile(str(tmp_path / "none"))()
