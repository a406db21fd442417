"""Conflicts, rivals, links and interfaces: what is said and heard on a real wire in namespaces."""

import ipaddress
import json
import os
import signal
import time

import pytest

from hamgr.adapters.net.neighbours import neighbours
from hamgr.adapters.net.nics import Sighting, look
from hamgr.adapters.net.probe import wire_owners
from hamgr.adapters.net.vip import Vip
from tests.adapters.vips import V4, V6, VipHost
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real

FULL = {V4: f"{V4[0]}/32", V6: f"{V6[0]}/128"}


@pytest.fixture
def lan():
    with Segment("a", "b", "client") as segment:
        yield segment


@pytest.fixture(params=[V4, V6], ids=["IPv4", "IPv6"])
def vip(request):
    return request.param


def squat(lan: Segment, machine: str, vip) -> None:
    """Give a machine the address behind hamgr's back."""
    lan.ip(machine, f"address add {FULL[vip]} dev eth0" + " nodad" * (vip is V6))


def test_a_conflict_is_found_before_the_claim(lan, vip):
    squat(lan, "b", vip)
    a = VipHost(lan, "a", g=[vip])
    a.tell("claim", "g", 1, "before")
    failed = a.event("AddressesClaimed", group="g", epoch=1, ok=False)
    assert lan.mac("b") in failed["why"] and vip[0] in failed["why"]
    assert not lan.has("a", vip[0]) and a.silent(within_s=0.3)


def test_a_probe_without_an_answer_ends_in_the_claim(lan, vip):
    a = VipHost(lan, "a", g=[vip])
    begin = time.monotonic()
    a.tell("claim", "g", 1, "before")
    assert not lan.has("a", vip[0]), "the wire is asked first"
    claimed = a.event("AddressesClaimed", group="g", epoch=1, ok=True)
    assert claimed["at"] - begin >= 0.24 and lan.has("a", vip[0])


def test_a_probe_can_be_cut_short(lan):
    a = VipHost(lan, "a", g=[V4])
    a.tell("claim", "g", 1, "before")
    a.tell("withdraw", "g", 1)
    a.event("AddressesClaimed", epoch=1, ok=False)
    a.event("AddressesWithdrawn", epoch=1, ok=True)
    assert a.silent(within_s=0.5) and not lan.has("a", V4[0])


def test_beside_the_claim_a_conflict_is_reported_and_answered(lan, vip):
    squat(lan, "b", vip)
    a = VipHost(lan, "a", g=[vip])
    a.tell("claim", "g", 1, "beside")
    a.event("AddressesClaimed", ok=True)
    rival = a.event("AddressesDisturbed", group="g", what="rival")
    assert lan.mac("b") in rival["detail"] and lan.has("a", vip[0])


def test_without_a_probe_a_silent_rival_is_found_by_the_next_announcement(lan, vip):
    squat(lan, "b", vip)
    a = VipHost(lan, "a", g=[vip])
    a.claim(probe="none")
    rival = a.event("AddressesDisturbed", group="g", what="rival")
    assert lan.mac("b") in rival["detail"]


def quiet_holder(lan: Segment) -> VipHost:
    """Return a holder that the client knows, and that says nothing of its own accord for 55 s."""
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    for address in (V4[0], V6[0]):
        lan.run("client", "ping", "-c1", "-W3", address)
    assert a.silent(within_s=5.5)
    return a


def led_astray(lan: Segment, *addresses: str) -> None:
    """Have the client think that the addresses are elsewhere."""
    for address in addresses or (V4[0], V6[0]):
        lan.ip("client", f"neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud reachable")


def found_again(lan: Segment) -> None:
    """Wait until the client knows where they are."""
    eventually(lambda: {lan.neighbour("client", one[0]) for one in (V4, V6)} == {lan.mac("a")},
               within_s=40)


def test_the_client_stays_with_the_holder_whatever_a_rival_announces(lan):
    a = quiet_holder(lan)
    b = VipHost(lan, "b", g=[V4, V6])
    b.claim()
    assert [a.event("AddressesDisturbed")["what"] for _ in range(2)] == ["rival", "rival"]
    os.kill(b.process.pid, signal.SIGKILL)
    found_again(lan)


def test_a_stall_of_ones_own_and_the_links_return_are_followed_by_an_announcement(lan):
    a = quiet_holder(lan)
    led_astray(lan)
    a.tell("announce_again")
    found_again(lan)
    assert a.silent(within_s=5.5)
    lan.unplug("a")
    a.event("ConditionChanged", ok=False)
    led_astray(lan)
    lan.plug("a")
    found_again(lan)


def test_two_rivals_make_no_storm(lan):
    a, b = VipHost(lan, "a", g=[V4, V6]), VipHost(lan, "b", g=[V4, V6])
    before = received(lan)
    a.claim()
    b.claim()
    time.sleep(3)  # what is counted is what two rivals say in so long
    assert received(lan) - before < 200
    assert {a.event("AddressesDisturbed")["what"] for _ in range(2)} == {"rival"}


def received(lan: Segment) -> int:
    [link] = json.loads(lan.ip("client", "-json -statistics link show dev eth0"))
    return link["stats64"]["rx"]["packets"]


def second_interface(lan: Segment) -> None:
    """Give a another interface on the same segment, eth1."""
    lan.ip("switch", "link add port-second type veth peer name eth1 netns " + lan.namespace("a"))
    lan.ip("switch", "link set port-second master br0 up")
    lan.ip("a", "link set eth1 up")


def test_a_rival_through_ones_own_second_interface_is_none(lan):
    second_interface(lan)
    a = VipHost(lan, "a", g=[V4])
    a.tell("claim", "g", 1, "beside")
    a.event("AddressesClaimed", ok=True)
    assert a.silent(within_s=1.5)


def test_loss_of_the_link_is_reported_at_once_and_its_return_when_it_lasts(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    lan.unplug("a")
    a.event("ConditionChanged", group="g", ok=False, why="eth0 has no carrier")
    lan.plug("a")
    plugged = time.monotonic()
    back = a.event("ConditionChanged", group="g", ok=True)
    assert back["at"] - plugged > 0.9 and "no carrier" in back["why"]
    lan.ip("a", "link set eth0 down")
    a.event("ConditionChanged", group="g", ok=False, why="eth0 is down")


def test_a_flapping_link_is_reported_once(lan):
    a = VipHost(lan, "a", g=[V4])
    lan.unplug("a")
    a.event("ConditionChanged", ok=False)
    lan.run("switch", "sh", "-c", "for i in 1 2 3 4; do ip link set port-a up; sleep 0.1; "
            "ip link set port-a down; sleep 0.1; done")
    assert a.silent(within_s=0)
    lan.plug("a")
    a.event("ConditionChanged", ok=True)
    assert a.silent(within_s=0.2)


def test_no_interface_in_the_subnet_is_told_with_the_remedy(lan):
    a = VipHost(lan, "a", g=[("192.0.2.100", 24, None)])
    told = a.event("ConditionChanged", group="g", ok=False)
    assert "192.0.2.0/24" in told["why"] and "name the interface" in told["why"]
    a.tell("claim", "g", 1, "none")
    assert "192.0.2.0/24" in a.event("AddressesClaimed", ok=False)["why"]
    lan.ip("a", "address add 192.0.2.1/24 dev eth0")
    a.event("interfaces")
    a.event("ConditionChanged", group="g", ok=True)
    a.claim(epoch=2)
    assert lan.has("a", "192.0.2.100")


def test_the_nodes_own_address_may_be_away_for_a_moment_but_not_for_good(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    own = f"{lan.address('a')}/24 dev eth0"
    lan.ip("a", f"address del {own}")
    lan.ip("a", f"address add {own}")
    assert a.silent(within_s=1.5)
    lan.ip("a", f"address del {own}")
    a.event("ConditionChanged", ok=False)


def replace_interface(lan: Segment, a: VipHost) -> None:
    """Another eth0: another index, another MAC."""
    lan.ip("switch", "link del port-a")
    gone = a.event("ConditionChanged", ok=False)
    assert "eth0 is gone" in gone["why"] or "down" in gone["why"]
    lan.ip("switch", "link add port-a type veth peer name eth0 netns " + lan.namespace("a"))
    lan.ip("switch", "link set port-a master br0 up")
    lan.ip("a", "link set eth0 up")
    lan.ip("a", "address add 10.0.0.1/24 dev eth0")


def test_an_interface_that_is_replaced_gets_the_address_again(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    before = a.tell("withdrawal_messages")
    replace_interface(lan, a)
    eventually(lambda: lan.has("a", V4[0]))
    lan.run("client", "ping", "-c1", "-W3", V4[0])
    after = a.tell("withdrawal_messages")
    assert before != after and len(after["g"]) == 1


@pytest.mark.parametrize("to", ["eth0", "eth1"])
def test_a_wire_that_cannot_be_opened_is_tried_again_and_nothing_false_said_meanwhile(
        lan, to, capfd):
    """On the interface that comes in place of another: no frame has the MAC of that one."""
    if to == "eth1":
        second_interface(lan)
        lan.ip("a", "address add 10.0.0.11/24 dev eth1")
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    lan.run("client", "ping", "-c1", "-W3", V4[0])
    a.tell("open_wires", False)
    if to == "eth1":
        lan.ip("switch", "link del port-a")
    else:
        replace_interface(lan, a)
    eventually(lambda: lan.has("a", V4[0]) and a.tell("open_wires", False) > 5)
    assert a.tell("announce_again") is None
    led_astray(lan, V4[0])
    a.tell("open_wires", True)
    eventually(lambda: lan.neighbour("client", V4[0]) == lan.mac("a", to), within_s=40)
    lan.run("client", "ping", "-c1", "-W3", V4[0])
    told = [line for line in capfd.readouterr().err.splitlines() if "cannot be read" in line]
    assert 1 <= len(told) <= 2, "each cause is told once, however often it is tried again"


def test_frames_carry_the_mac_that_the_interface_has_now(lan, vip):
    a = VipHost(lan, "a", g=[vip])
    a.claim()
    lan.run("client", "ping", "-c1", "-W3", vip[0])
    lan.ip("a", "link set eth0 address 02:00:00:00:00:77")
    eventually(lambda: lan.neighbour("client", vip[0]) == "02:00:00:00:00:77")


def test_the_wire_says_who_answers(lan, vip):
    assert lan.call("client", all_owners, vip[0]) == []
    squat(lan, "b", vip)
    assert lan.call("client", all_owners, vip[0]) == [lan.mac("b")]
    squat(lan, "a", vip)
    assert lan.call("client", all_owners, vip[0]) == sorted([lan.mac("a"), lan.mac("b")])
    assert lan.call("client", look, [Vip(*vip)]) == [Sighting("eth0", False)]
    assert lan.call("b", look, [Vip(*vip)]) == [Sighting("eth0", True)]


def test_who_has_no_agent_to_ask_sees_where_each_vip_is_and_for_how_long(lan):
    lan.ip("a", "address add 10.0.0.100/32 dev eth0 valid_lft 7777 preferred_lft 7777")
    vips = [Vip("10.0.0.100", 24), Vip("2001:db8::100", 64), Vip("192.0.2.9", 24)]
    there, absent, elsewhere = lan.call("a", look, vips)
    assert there.present and there.interface == "eth0" and 7000 < there.lifetime_s <= 7777
    assert absent == Sighting("eth0", False)
    assert elsewhere == Sighting("", False)


def test_the_kernel_tells_whose_a_mac_is(lan, vip):
    version = 6 if ":" in vip[0] else 4
    packed = ipaddress.ip_address(lan.address("b", version)).packed
    assert packed not in lan.call("a", neighbours)
    lan.run("a", "ping", "-c1", "-W3", lan.address("b", version))
    assert lan.call("a", neighbours)[packed] == lan.mac("b")


def all_owners(address):
    return sorted(wire_owners(address, "eth0"))


def test_who_asks_the_wire_leaves_no_trace_in_caches(lan):
    squat(lan, "b", V4)
    before = lan.ip("b", "neigh show dev eth0")
    lan.call("client", all_owners, V4[0])
    assert lan.ip("b", "neigh show dev eth0") == before


@pytest.mark.parametrize("listening, address", [
    ("0.0.0.0", V4), ("::", V4), (V4[0], V4), ("::", V6),
], ids=["IPv4", "IPv4 on a socket for both", "bound to the VIP", "IPv6"])
def test_connections_are_reset_when_the_address_leaves(lan, listening, address):
    a = VipHost(lan, "a", g=[address])
    a.claim()
    server = lan.start("a", "python3", "-uc", SERVER, listening, stdout=-1, text=True)
    assert server.stdout.readline() == "listening\n"
    others = lan.start("client", "python3", "-uc", CLIENT, lan.address("a"), stdout=-1, text=True)
    client = lan.start("client", "python3", "-uc", CLIENT, address[0], stdout=-1, text=True)
    if listening != V4[0]:
        assert others.stdout.readline() == "connected\n"
    assert client.stdout.readline() == "connected\n"
    a.withdraw()
    assert "reset" in client.stdout.readline(), "the client waits for an answer, and is told"
    assert "abort" in server.stdout.readline(), "the server's end does not linger"
    assert server.poll() is None and (listening == V4[0] or others.poll() is None)


SERVER = """
import socket, sys, threading
where = sys.argv[1]
family = socket.AF_INET6 if ":" in where else socket.AF_INET
listener = socket.create_server((where, 5000), family=family, dualstack_ipv6=where == "::")
print("listening")
def serve(connection):
    try:
        connection.recv(1)
    except OSError as error:
        print(error)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1]).start()
"""
CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 5000))
print("connected")
try:
    connection.recv(1)
except OSError as error:
    print(error)
"""


def test_two_hundred_addresses_are_one_batch(lan):
    many = [(f"10.0.0.{number}", 24, None) for number in range(50, 250)]
    a = VipHost(lan, "a", g=many)
    a.claim()
    assert a.silent(within_s=2.5)
    for address in ("10.0.0.50", "10.0.0.249"):
        assert lan.has("a", address)
    a.withdraw()
    assert "10.0.0.50/" not in lan.ip("a", "address show")


def test_an_address_that_the_kernel_refuses_leaves_none_of_the_group(lan):
    lan.run("a", "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    a = VipHost(lan, "a", g=[V4, (V6[0], 64, "eth0")])
    a.tell("claim", "g", 1, "none")
    failed = a.event("AddressesClaimed", ok=False)
    assert V6[0] in failed["why"] and not lan.has("a", V4[0])
