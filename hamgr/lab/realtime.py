"""Real-time priority for what measures: its own waiting for a CPU must not look like an outage."""

import gc
import os

_PRIORITY = 60
"""Above anything of hamgr's, so that a busy node cannot delay the ruler by which it is measured."""


def prefer() -> bool:
    """Run under SCHED_FIFO, without garbage collection; return whether that was allowed."""
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except PermissionError:
        return False
    return True
