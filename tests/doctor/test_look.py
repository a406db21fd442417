"""What is looked at: the kernel in network namespaces, servers on loopback, tools in the path."""

import errno
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from msgspec.structs import replace

from hamgr.adapters.net.vip import Nic
from hamgr.config.document import parse
from hamgr.config.values import Server as Address
from hamgr.doctor.facts import Here, Missing, ServiceUnit, ServiceUnits
from hamgr.doctor.look import around, clocks, machine, network, zookeeper
from hamgr.doctor.network import BEYOND
from tests.config.files import GOOD
from tests.doctor.listening import HOST, listening
from tests.netns import Segment, eventually

DOCUMENT = parse(
    GOOD.replace("10.0.0.11\", \"10.1.0.11", "10.0.0.1\", \"10.1.0.1")
    .replace("10.0.0.12\", \"10.1.0.12", "10.0.0.2\", \"10.1.0.2")
    .replace("10.0.0.13\", \"10.1.0.13", "10.0.0.3\", \"10.9.0.3")).document
assert DOCUMENT is not None
HERE = Here(node="n1", document=DOCUMENT, digest="")


@pytest.fixture(scope="module")
def lan() -> Iterator[Segment]:
    with Segment("n1", "n2") as made:
        yield made


@pytest.mark.real
def test_interfaces_routes_and_settings_are_those_of_the_kernel(lan: Segment) -> None:
    lan.ip("n1", "link add ring2 type veth peer name other2")
    lan.ip("n1", "link set ring2 mtu 1400")
    lan.ip("n1", "address add 10.1.0.1/24 dev ring2")
    lan.ip("n1", "address add 10.0.0.100/32 dev eth0")
    for setting in ("ipv4/conf/all/rp_filter=1", "ipv4/conf/eth0/rp_filter=2",
                    "ipv4/conf/ring2/arp_ignore=8", "ipv4/ip_nonlocal_bind=1",
                    "ipv6/conf/ring2/disable_ipv6=1"):
        lan.run("n1", "sysctl", "-w", f"net/{setting}")
    found = lan.call("n1", network.network, HERE)
    links = {link.name: link for link in found.links}
    assert links["eth0"].addresses[:2] == ("10.0.0.1/24", "10.0.0.100/32")
    assert (links["eth0"].fault, links["ring2"].fault) == ("", "ring2 is down")
    assert (links["eth0"].mtu, links["ring2"].mtu) == (1500, 1400)
    assert [links[name].settings["rp_filter"] for name in ("eth0", "ring2", "lo")] == [2, 1, 1]
    assert links["ring2"].settings["arp_ignore"] == 8
    assert links["ring2"].settings["disable_ipv6"] == 1
    assert found.settings == {"ipv4.ip_nonlocal_bind": 1, "ipv6.ip_nonlocal_bind": 0}
    assert [(vip.address, vip.interface) for vip in found.vips] == [("10.0.0.100/24", "eth0")]
    assert found.sources["10.0.0.2"] == "10.0.0.1"
    assert found.sources["10.9.0.3"] == found.sources[BEYOND] == ""


@pytest.mark.real
def test_the_wall_clock_of_a_machine_that_answers_is_known(lan: Segment) -> None:
    told = lan.call("n1", clocks.ahead, {"n2": "10.0.0.2", "n3": "10.0.0.3", "n4": "fd00::4"})
    assert list(told) == ["n2"] and abs(told["n2"]) < 1


@pytest.mark.real
def test_others_who_manage_addresses_are_seen_in_this_network_alone(
        lan: Segment, tmp_path: Path) -> None:
    program = tmp_path / "keepalived"
    shutil.copy("/bin/sleep", program)
    lan.start("n2", str(program), "1000")
    eventually(lambda: "keepalived" in lan.call("n2", machine._neighbours))
    assert "keepalived" not in lan.call("n1", machine._neighbours)


def test_times_of_day_are_compared_around_midnight_too() -> None:
    second, day = 1000, clocks.DAY_MS
    assert clocks.difference(5 * second, 2 * second) == 3 * second
    assert clocks.difference(2 * second, day - second) == 3 * second
    assert clocks.difference(day - second, 2 * second) == -3 * second


@pytest.mark.parametrize("packet", [
    b"", b"\x45" + bytes(19), b"\x45" + bytes(40), b"\x4f" + bytes(30),
    b"\x45" + bytes(19) + clocks.request(1, 5)], ids=len)
def test_a_packet_that_is_no_answer_to_us_tells_nothing(packet: bytes) -> None:
    assert clocks.reply(packet) is None


def test_a_request_is_sound_and_its_answer_is_read() -> None:
    request = clocks.request(1, 123456)
    assert clocks.checksum(request) == 0, "a sound message sums up to nothing (RFC 1071)"
    answer = bytes([14]) + request[1:16] + (777).to_bytes(4)
    assert clocks.reply(b"\x46" + bytes(23) + answer) == 777


def test_the_clock_of_this_kernel_runs_about_right() -> None:
    assert abs(machine.clock().slew) < 0.11, "a tick has 9,000 to 11,000 us (adjtimex(2))"


def test_the_disk_is_the_one_under_the_directory(tmp_path: Path) -> None:
    found = machine.disk(str(tmp_path))
    assert found.path == str(tmp_path) and found.free > 0 and not found.read_only
    with pytest.raises(OSError):
        machine.disk(str(tmp_path / "none"))


def test_the_unit_of_a_process_is_that_of_its_control_group(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path)
    texts = {"0::/system.slice/hamgr.service\n": "hamgr.service",
             "0::/system.slice/hamgr.service/hooks\n": "hamgr.service",
             "0::/user.slice/user-0.slice/session-1.scope\n": "", "0::/\n": ""}
    for text, unit in texts.items():
        monkeypatch.setattr(machine.Path, "read_text", lambda path, text=text: text)
        assert machine.home(1).unit == unit


@contextmanager
def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> Iterator[None]:
    """Have tools of the system that print what they would print elsewhere."""
    for name, script in scripts.items():
        tool = folder / name
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    yield


def test_what_networkd_and_networkmanager_manage(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, more = tmp_path / "10-eth0.network", tmp_path / "keep.conf"
    file.write_text("[Match]\nName=eth0\n[Network]\n#KeepConfiguration=yes\n"
                    "KeepConfiguration=\nDHCP=no\n")
    more.write_text("[Network]\nKeepConfiguration = static\n")
    with tools(tmp_path, monkeypatch, networkctl=f"""
case $1 in
list) echo "  1 lo   loopback carrier    unmanaged"
      echo "  2 eth0 ether    routable   configured"
      echo "  3 eth1 ether    routable   configuring" ;;
status) case $4 in
    eth0) echo "   Network File: {file}"; echo "                 {more}" ;;
    *) echo "   Network File: {file}" ;;
    esac ;;
esac""", nmcli='printf "eth0:unmanaged\\neth2:connected\\nlo:unmanaged\\neth3:disconnected\\n"'):
        found = machine.managers()
    assert found.networkd == {"eth0": "static", "eth1": ""}
    assert found.networkmanager == ("eth2", "eth3")


def test_units_are_asked_of_systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path / "none")
    with pytest.raises(OSError, match="systemd is not the service manager"):
        machine.units()
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path)
    with tools(tmp_path, monkeypatch, systemctl="""
test $2 = hamgr.service && echo enabled && exit
echo "Failed to get unit file state" >&2; exit 1"""):
        assert machine.units().enabled == {"hamgr.service": "enabled", "hamgr-deadman.socket": ""}


def test_units_of_services_are_asked_of_systemctl(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path / "none")
    assert machine.service_units({}) == ServiceUnits()
    with pytest.raises(OSError, match="systemd is not the service manager"):
        machine.service_units({("crm", "app"): "app.service"})
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path)
    with tools(tmp_path, monkeypatch, systemctl="""
case $* in
*app.service*) printf "LoadState=loaded\\nUnitFileState=static\\nWantedBy=b.target a.service
TriggeredBy=app.socket app.timer\\nUpheldBy=a.service\\n" ;;
*app.socket*) echo enabled ;;
*) echo disabled; exit 1 ;;
esac"""):
        found = machine.service_units({("crm", "app"): "app.service"})
    assert found.units == (ServiceUnit(
        group="crm", service="app", unit="app.service", load="loaded", state="static",
        wanted_by=("a.service", "b.target"), triggered_by=("app.socket",)),)


def test_a_tool_that_hangs_or_is_missing_costs_little(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "WITHIN_S", 0.05)
    with tools(tmp_path, monkeypatch, networkctl="exec sleep 100", nmcli="exit 8"):
        began = time.monotonic()
        found = machine.managers()
    assert (found.networkd, found.networkmanager) == ({}, ())
    assert time.monotonic() - began < 10


@contextmanager
def answering(**answers: bytes) -> Iterator[Address]:
    """A server that gives these answers to four-letter words."""
    def talk(connection: socket.socket) -> None:
        connection.sendall(answers.get(connection.recv(4).decode(), b""))

    with listening(talk) as port:
        yield Address(HOST, port)


def test_servers_tell_of_themselves_or_that_they_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zookeeper, "WITHIN_S", 0.5)
    refuses = b"mntr is not executed because it is not in the whitelist.\n"
    with answering(srvr=b"Latency min/avg/max: 0/1.5/9\nMode: leader\n", mntr=refuses,
                   conf=b"tickTime=500\nserver.1=a:1:2\nmembership: \n") as one, \
            answering() as silent, answering(**dict.fromkeys(zookeeper.WORDS, b"This ZooKeeper "
            b"instance is not currently serving requests\n")) as alone:
        nobody = Address("127.0.0.1", 1)
        cluster = replace(DOCUMENT.cluster, zookeeper=(one, silent, nobody, alone))
        first, second, third, last = zookeeper.ensemble(replace(DOCUMENT, cluster=cluster)).servers
    assert first.answers == {"srvr": {"Latency min/avg/max": "0/1.5/9", "Mode": "leader"},
                             "conf": {"tickTime": "500", "server.1": "a:1:2", "membership": ""}}
    assert (first.forbidden, first.fault, first.answer_ms > 0) == (("mntr",), "", True)
    assert (second.answers, second.fault, second.serves) == ({}, "", True)
    assert (last.answers, last.fault, last.serves) == ({}, "", False)
    assert (third.name, third.fault) == ("127.0.0.1:1", "Connection refused")


def test_lines_with_tabs_are_those_of_mntr() -> None:
    assert zookeeper.parsed("zk_version\t3.8.0=x\nzk_avg_latency\t0.5\n") == {
        "zk_version": "3.8.0=x", "zk_avg_latency": "0.5"}


def test_a_route_is_asked_for_without_a_packet() -> None:
    assert ip_address(network.source("127.0.0.1")).is_loopback
    assert network.source("::1") in ("::1", "")


def test_files_that_systemd_gives_the_agent_are_looked_into_where_they_are(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "hamgr.toml"
    config.write_text(GOOD.replace("[address]", '[zookeeper]\nca_file = "%d/ca.pem"\n[address]'))
    nobody = Missing("no agent runs here")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(around, "CREDENTIALS", tmp_path / "none")
    assert around.around(config, nobody).config.faults == (), "they cannot be seen from here"
    monkeypatch.setattr(around, "CREDENTIALS", tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (fault,) = around.around(config, nobody).config.faults
    assert "%d/ca.pem: cannot be read" in fault


def test_without_an_agent_a_node_is_who_the_environment_says(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a node that cannot tell says: set HAMGR_NODE."""
    config = tmp_path / "hamgr.toml"
    config.write_text(GOOD.replace("10.0.0.1", "127.0.0.1").replace("127.0.0.100", "10.0.0.100"))
    nobody = Missing("no agent runs here")
    monkeypatch.delenv("HAMGR_NODE", raising=False)
    found = around._here(config, around.read(config), nobody)
    assert isinstance(found, Missing) and "set HAMGR_NODE" in found.why
    monkeypatch.setenv("HAMGR_NODE", "n3")
    found = around._here(config, around.read(config), nobody)
    assert isinstance(found, Here) and found.node == "n3"


def test_an_interface_that_goes_meanwhile_keeps_nobody_from_seeing_the_others(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def mtu(nic: Nic) -> int:
        if nic.name == "lo":
            return 65536
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(network, "_mtu", mtu)
    assert [link.name for link in network._links()] == ["lo"]


def test_a_server_that_never_ends_its_answer_is_not_waited_for(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zookeeper, "WITHIN_S", 0.3)

    def drip(connection: socket.socket) -> None:
        connection.recv(4)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with listening(drip) as port:
        began = time.monotonic()
        zookeeper._ask(None, Address(HOST, port), "srvr")
        assert time.monotonic() - began < 2
