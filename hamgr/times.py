"""The times of the protocol that follow from others where a file does not give them."""

from hamgr.core.timing import Timing, detection_for, lease_within
from hamgr.core.types import Duration


def times_for(interval: Duration) -> Timing:
    """Return the times that follow from a heartbeat interval: lease 2.8, detection 3.5 of it.

    Below 100 ms the 10 ms of room for the dead-man's switch are more of an interval. The lease
    makes that room, down to 2.5 intervals (at 20 ms), which outlast one lost heartbeat and some
    lateness; below 20 ms, detection grows.
    """
    detection = interval * 35 // 10
    lease = max(interval * 25 // 10, min(interval * 28 // 10, lease_within(detection)))
    return Timing(interval=interval, lease=lease, detection=max(detection, detection_for(lease)))
