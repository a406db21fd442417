"""The times of the protocol that follow from others where a file does not give them."""

from hamgr.core.timing import Timing, detection_for, lease_within
from hamgr.core.types import MILLISECOND, SECOND, Duration


def times_for(interval: Duration) -> Timing:
    """Return the times that follow from a heartbeat interval: lease 2.8, detection 3.5 of it.

    What a take-over takes beside detection, and the 10 ms of room for the dead-man's switch, are
    more of a shorter interval. Below 100 ms detection makes up for the one, down to 3.25 intervals
    (at 20 ms), and the lease for the other, down to 2.25: it outlasts one lost heartbeat and some
    lateness. Below 20 ms, detection grows.
    """
    spared = max(0, Timing().interval - interval) // 16
    detection = interval * 35 // 10 - spared // MILLISECOND * MILLISECOND
    within = lease_within(detection) // MILLISECOND * MILLISECOND
    lease = max(interval * 225 // 100, min(interval * 28 // 10, within))
    return Timing(interval=interval, lease=lease, detection=max(detection, detection_for(lease)))


def reset_within(timeout: Duration) -> Duration:
    """Return how long after its last feeding a watchdog of this timeout has certainly reset.

    Two timeouts, since the kernel starts it over once when a process dies that has the device open
    (watchdog_release in drivers/watchdog/watchdog_dev.c); a tenth for clocks that run at different
    rates (8 % in the protocol), and a second for drivers that count in coarse steps.
    """
    return timeout * 22 // 10 + SECOND
