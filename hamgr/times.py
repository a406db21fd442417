"""The times of the protocol that follow from others where a file does not give them."""

from hamgr.core.timing import Timing, detection_for
from hamgr.core.types import Duration


def times_for(interval: Duration) -> Timing:
    """Return the times that follow from a heartbeat interval: lease 2.8, detection 3.5 of it.

    Below 100 ms, detection grows to keep its 10 ms of room for the dead-man's switch.
    """
    lease = interval * 28 // 10
    detection = max(interval * 35 // 10, detection_for(lease))
    return Timing(interval=interval, lease=lease, detection=detection)
