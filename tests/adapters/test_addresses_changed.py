"""VIPs that come and go while others are held: real kernels in namespaces, with a client beside."""

import os
import subprocess
import time

import pytest

from hamgr.core.types import SECOND
from tests.adapters.vips import V4, V6, VipHost
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real

MORE4, MORE6 = ("10.0.0.101", 24, None), ("2001:db8::101", 64, None)
VALID_LFT_S = 2


@pytest.fixture
def lan():
    with Segment("a", "b", "client") as segment:
        yield segment


def configure(host: VipHost, valid_lft_s: int = VALID_LFT_S, **groups) -> str | None:
    host.begin("configure", groups, valid_lft_s)
    return host.result()


def others(host: VipHost) -> list[dict]:
    """What happened beside changes of interfaces."""
    found = []
    while not host._events.empty():
        event = host._events.get()
        if event["event"] != "interfaces":
            found.append(event)
    return found


def test_a_vip_that_comes_is_added_and_announced_and_the_others_are_not_touched(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    lan.run("client", "ping", "-c1", "-W3", V4[0])
    monitor = lan.start("a", "ip", "monitor", "address", stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    assert configure(a, g=[V4, MORE4, MORE6]) is None
    assert lan.has("a", MORE4[0]) and lan.has("a", MORE6[0])
    lan.run("client", "ping", "-c1", "-W3", MORE4[0])
    assert lan.neighbour("client", MORE4[0]) == lan.mac("a")
    monitor.terminate()
    assert "Deleted" not in monitor.stdout.read()
    assert len(a.tell("withdrawal_messages")["g"]) == 3, "the switch can withdraw all of them"
    time.sleep(VALID_LFT_S + 1.5)
    assert all(lan.has("a", vip[0]) for vip in (V4, MORE4, MORE6)), "all are renewed"
    assert others(a) == []


def test_a_vip_that_goes_is_removed_and_the_others_stay(lan):
    a = VipHost(lan, "a", g=[V4, MORE4, V6])
    a.claim()
    assert configure(a, g=[V4, V6]) is None
    assert not lan.has("a", MORE4[0])
    assert lan.has("a", V4[0]) and lan.has("a", V6[0])
    time.sleep(VALID_LFT_S)
    assert not lan.has("a", MORE4[0]), "nobody renews or restores it"
    assert len(a.tell("withdrawal_messages")["g"]) == 2
    assert others(a) == []


def test_a_vip_that_comes_is_not_added_where_the_group_is_not_held(lan):
    a = VipHost(lan, "a", g=[V4])
    assert configure(a, g=[V4, MORE4]) is None
    assert not lan.has("a", MORE4[0])
    others(a)
    a.claim()
    assert lan.has("a", V4[0]) and lan.has("a", MORE4[0])


def test_a_vip_that_another_machine_has_is_not_taken_and_all_stays_as_it_was(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    lan.ip("b", f"address add {MORE4[0]}/24 dev eth0")
    answer = configure(a, g=[V4, MORE4])
    assert answer == f"OSError: {lan.mac('b')} answers for {MORE4[0]}"
    assert lan.has("a", V4[0]) and not lan.has("a", MORE4[0])
    assert len(a.tell("withdrawal_messages")["g"]) == 1
    lan.ip("b", f"address del {MORE4[0]}/24 dev eth0")
    assert configure(a, g=[V4, MORE4]) is None
    assert lan.has("a", MORE4[0])


def test_a_group_comes_and_goes_beside_one_that_is_held(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    assert configure(a, g=[V4], h=[MORE4]) is None
    others(a)
    a.claim("h")
    assert lan.has("a", MORE4[0])
    assert configure(a, g=[V4]) is None
    assert not lan.has("a", MORE4[0]) and lan.has("a", V4[0])
    assert [*a.tell("withdrawal_messages")] == ["g"]


def test_nothing_is_added_after_the_lease_has_run_out(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    a.tell("hold_until", time.monotonic_ns() - SECOND)
    answer = configure(a, g=[V4, MORE4])
    assert answer == "OSError: the lease had run out before the address was added"
    assert not lan.has("a", MORE4[0])


def test_another_lifetime_counts_from_the_next_renewal_on(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    assert configure(a, valid_lft_s=60, g=[V4]) is None
    eventually(lambda: "valid_lft 6" in lan.ip("a", f"address show to {V4[0]}")
               or "valid_lft 5" in lan.ip("a", f"address show to {V4[0]}"))


def test_an_interface_that_is_missing_is_told_of_the_new_group_alone(lan):
    a = VipHost(lan, "a", g=[V4])
    a.claim()
    assert configure(a, g=[V4], h=[("192.0.2.1", 24, "eth9")]) is None
    told = others(a)
    assert [(one["event"], one["group"], one["ok"]) for one in told] == [
        ("ConditionChanged", "h", False)]
    assert configure(a, g=[V4]) is None
    assert [(one["group"], one["ok"]) for one in others(a)] == [("h", True)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_connections_to_a_vip_that_goes_are_cut(lan):
    a = VipHost(lan, "a", g=[V4, MORE4])
    a.claim()
    server = lan.start("a", "python3", "-c", "import socket,time\n"
                       "s = socket.create_server(('0.0.0.0', 5000))\n"
                       "c = [s.accept(), s.accept()]\ntime.sleep(60)")
    for vip in (V4, MORE4):
        lan.start("client", "python3", "-c", "import socket,time\n"
                  "for _ in range(100):\n"
                  "    try:\n"
                  f"        c = socket.create_connection(('{vip[0]}', 5000))\n"
                  "        break\n"
                  "    except OSError:\n"
                  "        time.sleep(0.05)\n"
                  "time.sleep(60)")

    def connected(vip) -> bool:
        return bool(lan.run("a", "ss", "-Htn", "state", "established", "src", vip[0]))

    eventually(lambda: connected(V4) and connected(MORE4))
    assert configure(a, g=[V4]) is None
    assert connected(V4) and not connected(MORE4)
    server.kill()
