"""Claim, hold and withdraw VIPs: real kernels in namespaces, with a client on the other side."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.adapters.vips import V4, V6, VipHost
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real

LIFETIME_S = 2 + 1.25
"""valid_lft, and what the kernel may be late: the bound in docs/protocol.md."""


@pytest.fixture
def lan():
    with Segment("a", "b", "client") as segment:
        yield segment


@pytest.fixture(params=[V4, V6], ids=["IPv4", "IPv6"])
def vip(request):
    return request.param


def ping(lan: Segment, address: str) -> None:
    lan.run("client", "ping", "-c1", "-W3", address)


def test_a_clients_neighbour_entry_moves_with_the_claim(lan, vip):
    a, b = VipHost(lan, "a", g=[vip]), VipHost(lan, "b", g=[vip])
    a.claim()
    ping(lan, vip[0])
    assert lan.neighbour("client", vip[0]) == lan.mac("a")
    a.withdraw()
    assert not lan.has("a", vip[0])
    b.claim(epoch=2)
    eventually(lambda: lan.neighbour("client", vip[0]) == lan.mac("b"))
    ping(lan, vip[0])


def test_a_client_follows_although_the_old_owner_still_has_the_address(lan, vip):
    a, b = VipHost(lan, "a", g=[vip]), VipHost(lan, "b", g=[vip])
    a.claim()
    ping(lan, vip[0])
    os.kill(a.process.pid, signal.SIGSTOP)
    b.claim(epoch=2)
    eventually(lambda: lan.neighbour("client", vip[0]) == lan.mac("b"))


@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"])
def test_the_address_goes_by_itself_when_nobody_renews_it(lan, end):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    assert a.silent(within_s=2.5), "renewal keeps the address beyond one lifetime"
    assert lan.has("a", V4[0]) and lan.has("a", V6[0])
    os.kill(a.process.pid, end)
    ended = time.monotonic()
    eventually(lambda: not lan.has("a", V4[0]) and not lan.has("a", V6[0]),
               within_s=LIFETIME_S + 0.5)
    assert time.monotonic() - ended < LIFETIME_S + 0.1, "0.1 s for looking"


def test_a_process_that_wakes_without_a_lease_puts_nothing_back(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    a.tell("hold_until", time.monotonic_ns() + 300_000_000)
    os.kill(a.process.pid, signal.SIGSTOP)
    lan.ip("a", f"address del {V4[0]}/32 dev eth0")
    eventually(lambda: not lan.has("a", V6[0]))
    os.kill(a.process.pid, signal.SIGCONT)
    assert a.silent(within_s=1.2), "a renewal and the removal it has slept through were due"
    assert not lan.has("a", V4[0]) and not lan.has("a", V6[0])
    a.tell("claim", "g", 2, "none")
    failed = a.event("AddressesClaimed", ok=False)
    assert "lease" in failed["why"] and not lan.has("a", V4[0])


def test_renewal_ends_with_the_lease(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    a.tell("hold_until", time.monotonic_ns())
    eventually(lambda: not lan.has("a", V4[0]), within_s=LIFETIME_S + 0.5)
    assert a.silent(within_s=0)


def test_what_something_else_removes_is_put_back(lan, vip):
    a = VipHost(lan, "a", g=[vip])
    a.claim()
    full = 128 if ":" in vip[0] else 32
    for _ in range(3):
        lan.ip("a", f"address del {vip[0]}/{full} dev eth0")
        a.event("AddressesDisturbed", group="g", what="removed", detail=vip[0])
        assert lan.has("a", vip[0])
    lan.ip("a", "address flush dev eth0")
    a.event("AddressesDisturbed", what="removed")
    assert lan.has("a", vip[0])


SERVER = """import socket, time
server = socket.create_server(('::', 5000), family=socket.AF_INET6, dualstack_ipv6=True)
print('listens', flush=True)
accepted = [server.accept() for _ in range(3)]
print('connected', flush=True)
time.sleep(60)
"""
CLIENT = """import socket
try:
    socket.create_connection(('%s', 5000)).recv(1)
except ConnectionResetError:
    raise SystemExit(7)
"""


def test_clients_of_either_family_are_reset_as_the_address_goes_and_nobody_else(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    server = lan.start("a", "python3", "-c", SERVER, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"listens\n"
    served = [lan.start("client", "python3", "-c", CLIENT % address)
              for address in (V4[0], V6[0], lan.address("a"))]
    assert server.stdout.readline() == b"connected\n"
    a.withdraw()
    assert [client.wait(10) for client in served[:2]] == [7, 7]
    assert served[2].poll() is None
    server.kill()


def test_a_withdrawal_is_not_taken_for_a_removal_by_others(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    a.tell("reclaim", "g")
    a.event("AddressesWithdrawn", ok=True)
    a.event("AddressesClaimed", epoch=2, ok=True)
    assert a.silent(within_s=0.3), "the kernel tells of the removal only now"


def test_an_ipv6_address_is_usable_at_once_where_the_kernel_would_look_for_duplicates(lan):
    lan.run("a", "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/accept_dad")
    a = VipHost(lan, "a", g=[V6])
    a.claim()
    assert "tentative" not in lan.ip("a", f"address show to {V6[0]}")
    ping(lan, V6[0])


def test_the_nodes_own_address_and_the_others_outlive_each_removal(lan):
    second, third = ("10.0.0.101", 24, None), ("10.0.0.102", 24, None)
    a = VipHost(lan, "a", g=[V4, second], h=[third])
    a.claim("g")
    a.claim("h")
    a.withdraw("g")
    assert [lan.has("a", one[0]) for one in (V4, second, third)] == [False, False, True]
    assert lan.has("a", lan.address("a"))
    lan.ip("a", f"address del {lan.address('a')}/24 dev eth0")
    lan.ip("a", f"address add {lan.address('a')}/24 dev eth0")
    assert lan.has("a", third[0]) and a.silent(within_s=0.3)


def test_an_interface_without_an_address_of_its_own_gets_the_route_with_the_vip(lan):
    lan.ip("a", "address flush dev eth0")
    named = ("10.0.0.100", 24, "eth0")
    a = VipHost(lan, "a", g=[named])
    a.claim()
    ping(lan, named[0])
    a.withdraw()
    assert not lan.has("a", named[0])


def test_a_node_never_speaks_from_its_vip_by_itself(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    for version in (4, 6):
        route = lan.ip("a", f"route get {lan.address('client', version)}").split()
        assert route[route.index("src") + 1] == lan.address("a", version)


def test_an_address_is_withdrawn_from_wherever_it_is(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    lan.ip("a", "link add other0 up type bridge")
    a.claim()
    lan.ip("a", f"address add {V4[0]}/24 dev other0")
    found = [one[:4] for one in a.tell("found")["g"]]
    assert [V4[0], 24, "other0", False] in found and [V4[0], 32, "eth0", True] in found
    assert [V6[0], 128, "eth0", True] in found
    a.withdraw()
    assert not lan.has("a", V4[0]) and not lan.has("a", V6[0])


def test_cleaning_removes_what_the_node_has_no_right_to(lan):
    kept, gone = ("10.0.0.101", 24, None), ("10.0.0.102", 24, None)
    for address in (kept, gone):
        lan.ip("a", f"address add {address[0]}/24 dev eth0")
    a = VipHost(lan, "a", keep=[kept], g=[gone])
    assert a.tell("clean", ["keep"]) is None
    assert lan.has("a", kept[0]) and not lan.has("a", gone[0])
    assert a.tell("clean", []) is None
    assert not lan.has("a", kept[0])


def test_maintenance_makes_lifetimes_unlimited_and_ends_with_what_is_there(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    a.tell("loosen", "g")
    shown = lan.ip("a", "address show dev eth0")
    assert "valid_lft 2sec" not in shown and "valid_lft 1sec" not in shown
    os.kill(a.process.pid, signal.SIGKILL)
    a.process.wait()
    restarted = VipHost(lan, "a", g=[V4, V6])
    assert restarted.tell("clean", ["g"]) is None
    restarted.tell("tighten", "g", 1)
    restarted.event("AddressesClaimed", group="g", epoch=1, ok=True)
    assert lan.ip("a", "address show dev eth0").count("valid_lft 2sec") == 2


def unlimited(lan: Segment, vip: tuple) -> bool:
    return "valid_lft forever" in lan.ip("a", f"address show to {vip[0]}")


def test_maintenance_begins_although_the_kernels_socket_fails_once(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    a.tell("break_socket")
    assert a.tell("loosen", "g") is None
    eventually(lambda: unlimited(lan, V4) and unlimited(lan, V6))


def test_maintenance_begins_when_the_kernel_lets_it_and_not_after_its_end(lan):
    a = VipHost(lan, "a", g=[V4], h=[V6])
    for group in "gh":
        a.claim(group)
    a.tell("may_change_addresses", False)
    for group in "gh":
        assert a.tell("loosen", group) is None
        assert not unlimited(lan, V4) and not unlimited(lan, V6)
    a.tell("may_change_addresses", True)
    a.tell("tighten", "h", 1)
    a.event("AddressesClaimed", group="h", ok=True)
    eventually(lambda: unlimited(lan, V4))
    assert a.silent(within_s=0.6) and not unlimited(lan, V6)


def test_maintenance_cannot_end_with_an_address_that_is_gone(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    a.claim()
    a.tell("loosen", "g")
    lan.ip("a", f"address del {V4[0]}/32 dev eth0")
    assert a.silent(within_s=0.3), "in maintenance nothing is put back"
    a.tell("tighten", "g", 1)
    failed = a.event("AddressesClaimed", ok=False)
    assert V4[0] in failed["why"] and not lan.has("a", V6[0])


def test_the_switch_can_withdraw_with_the_messages_it_was_given(lan):
    a = VipHost(lan, "a", g=[V4, V6], h=[("10.0.0.101", 24, None)])
    a.claim("g")
    a.claim("h")
    messages = a.tell("withdrawal_messages")
    os.kill(a.process.pid, signal.SIGSTOP)
    lan.call("a", send_netlink, messages["g"])
    assert not lan.has("a", V4[0]) and not lan.has("a", V6[0]) and lan.has("a", "10.0.0.101")


def send_netlink(messages):
    import socket
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
        opened.send(b"".join(bytes.fromhex(message) for message in messages))
        assert [opened.recv(4096)[16:20] for _ in messages] == [bytes(4)] * len(messages)


def test_nothing_is_imported_opened_or_forked_to_take_an_address(lan):
    a = VipHost(lan, "a", g=[V4, V6])
    assert a.tell("modules") == [], "scapy stays in its child process"
    before = descriptors_and_children(a)
    a.claim()
    assert descriptors_and_children(a) == before
    a.withdraw()
    assert descriptors_and_children(a) == before


def descriptors_and_children(host):
    process = Path(f"/proc/{host.process.pid}")
    children = (process / "task" / process.name / "children").read_text()
    return sorted(os.readlink(one) for one in (process / "fd").iterdir()), children
