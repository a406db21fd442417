"""Finding oneself in the file: by wish, by host name, by address."""

import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from hamgr.config.document import parse
from hamgr.config.identity import IdentityError, NoNodeFitsError, find_self, host_names
from hamgr.config.schema import Document
from tests.config.files import GOOD, changed


def document(text: str = GOOD) -> Document:
    found = parse(text).document
    assert found is not None
    return found


def test_what_is_wanted_comes_first() -> None:
    assert find_self(document(), "n2", ["n1"], [ip_address("10.0.0.13")]) == "n2"


def test_host_name_comes_before_address() -> None:
    assert find_self(document(), None, ["N1"], [ip_address("10.0.0.13")]) == "n1"


def test_any_own_address_will_do() -> None:
    local = [ip_address("192.0.2.1"), ip_address("10.1.0.12")]
    assert find_self(document(), "", ["web7"], local) == "n2"


@pytest.mark.parametrize(("wanted", "hosts", "local", "words"), [
    ("n", [], [], 'no node is named "n"'),
    ("n22", [], [], 'did you mean "n2"?'),
    (None, ["web7"], ["192.0.2.1"], "no node is named web7, and none has an address that"),
    (None, [], [], "give --node NAME or set HAMGR_NODE"),
    (None, ["n1", "n2"], [], "the host names n1, n2 fit several nodes (n1, n2)"),
    (None, ["web7"], ["10.0.0.11", "10.0.0.12"], "fit several nodes (n1, n2); give --node"),
])
def test_who_cannot_be_found_is_told_what_was_tried(
        wanted: str | None, hosts: list[str], local: list[str], words: str) -> None:
    with pytest.raises(IdentityError) as caught:
        find_self(document(), wanted, hosts, [ip_address(each) for each in local])
    assert words in str(caught.value)
    by_now = not wanted and not {*hosts, *local} & {"n1", "10.0.0.11"}
    assert isinstance(caught.value, NoNodeFitsError) == by_now, "an address may come late"


def test_host_names_begin_with_the_full_one() -> None:
    assert host_names()[0] == socket.gethostname()
    assert host_names()[-1] == socket.gethostname().split(".")[0]


LOOK = """
import sys
from hamgr.config.document import load
from hamgr.config.identity import addresses_here
print(*addresses_here(load(sys.argv[1])))
"""


@pytest.mark.real
def test_addresses_of_this_machine_are_told_from_others(tmp_path: Path) -> None:
    # In a network namespace of its own, which ends with the command, and with ip_nonlocal_bind,
    # which makes every address look like one's own to bind().
    file = tmp_path / "hamgr.toml"
    file.write_text(changed(*((f'"10.1.0.{host}"]', f'"2001:db8::{host}"]')
                              for host in (11, 12, 13))))
    script = """
        ip link add ring type veth peer name far && ip link set far up &&
        ip link set ring up && ip link set lo up &&
        ip addr add 10.0.0.12/24 dev ring && ip addr add 2001:db8::12/64 dev ring nodad &&
        sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1 && exec "$@"
    """
    found = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-c", LOOK, str(file)],
        capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["10.0.0.12", "2001:db8::12"]
