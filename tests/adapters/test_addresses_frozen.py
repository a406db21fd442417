"""An owner that is frozen beyond its lease, at the worst moments, and wakes: it adds nothing and
says nothing any more, whatever it was about to do. Real kernels; the freeze is SIGSTOP.
"""

import time

import pytest

from tests.adapters.vips import V4, V6, VipHost
from tests.netns import Segment, eventually

pytestmark = pytest.mark.real

LEASE_S = 0.3


@pytest.fixture
def lan():
    with Segment("a", "b", "client") as segment:
        yield segment


@pytest.fixture
def owners(lan):
    """Two machines; the first has a lease for a moment longer."""
    return VipHost(lan, "a", g=[V4, V6]), VipHost(lan, "b", g=[V4, V6])


def lease(host: VipHost, for_s: float = LEASE_S) -> None:
    host.until = time.monotonic() + for_s
    host.tell("hold_until", int(host.until * 1e9))


def frozen_until_another_took_over(lan: Segment, a: VipHost, b: VipHost) -> None:
    """Wait for the freeze and the end of the lease; do what the switch and the heir do then."""
    eventually(a.frozen)
    eventually(lambda: time.monotonic() > a.until)
    for vip in (V4, V6):
        lan.ip("a", f"address flush dev eth0 to {vip[0]}")
    b.claim(epoch=2)
    for vip in (V4, V6):
        lan.run("client", "ping", "-c1", "-W3", vip[0])


def has_nothing_and_says_nothing(lan: Segment, a: VipHost, b: VipHost) -> None:
    assert a.tell("found") == {"g": []}, "the answer comes after what was interrupted"
    assert b.silent(within_s=1.2), "b would tell of a rival"
    assert a.tell("found") == {"g": []}
    assert lan.neighbour("client", V4[0]) == lan.mac("b")


def test_frozen_between_the_decision_to_claim_and_the_kernel(lan, owners):
    a, b = owners
    a.tell("freeze_before_netlink")
    lease(a)
    a.begin("claim", "g", 1, "none")
    frozen_until_another_took_over(lan, a, b)
    a.thaw()
    a.result()
    failed = a.event("AddressesClaimed", epoch=1, ok=False)
    assert "lease" in failed["why"]
    has_nothing_and_says_nothing(lan, a, b)


def test_frozen_between_the_decision_to_renew_and_the_kernel(lan, owners):
    a, b = owners
    a.claim()
    a.tell("freeze_before_netlink")
    lease(a, 2.0)  # a renewal comes within half a second
    frozen_until_another_took_over(lan, a, b)
    a.thaw()
    has_nothing_and_says_nothing(lan, a, b)


def test_frozen_between_the_decision_to_put_back_and_the_kernel(lan, owners):
    a, b = owners
    a.claim()
    a.tell("hold_until", 0)  # so that no renewal comes first
    a.tell("freeze_before_netlink")
    lease(a)
    lan.ip("a", f"address del {V4[0]}/32 dev eth0")
    frozen_until_another_took_over(lan, a, b)
    a.thaw()
    has_nothing_and_says_nothing(lan, a, b)


def test_frozen_with_an_announcement_to_make(lan, owners):
    a, b = owners
    a.claim()
    lease(a)
    a.freeze()
    frozen_until_another_took_over(lan, a, b)
    time.sleep(max(0.0, a.until + 1 - time.monotonic()))  # until the announcements of 0.2 and 1 s
    a.thaw()
    has_nothing_and_says_nothing(lan, a, b)
