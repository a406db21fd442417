"""The check of the watchdog device: it can be had, closed again, and covers what it should."""

from collections.abc import Iterator

from hamgr.doctor.facts import WatchdogDevice
from hamgr.doctor.finding import Finding, fault, note, ok, warning

SOFTDOG = "Software Watchdog"
"""softdog's identity (drivers/watchdog/softdog.c)."""


def watchdog(watchdog: WatchdogDevice) -> Iterator[Finding]:
    """The watchdog device of [watchdog] is there, free for the agent, and takes the timeout."""
    device = watchdog.device
    if not device:
        yield note("watchdog", "none is configured: a machine that hangs keeps its services until "
                   "somebody resets it", "[watchdog], see docs/watchdog.md")
        return
    if not watchdog.there:
        yield fault(device, "is not there", "load the driver of this machine's watchdog, or "
                    "softdog (docs/watchdog.md), now and at boot (/etc/modules-load.d)")
        return
    found = [*_driver(watchdog), *_holder(watchdog)]
    if not found:
        held = "held by the agent" if watchdog.ours else "closed, since nothing is active here"
        yield ok(device, f"{watchdog.identity}, {watchdog.timeout_s} s, {held}")
    yield from found
    if watchdog.identity == SOFTDOG:
        yield note(device, "is the kernel's own timer: it resets a machine whose processes hang, "
                   "not one whose kernel does", "the hardware's watchdog, if there is one")


def _driver(watchdog: WatchdogDevice) -> Iterator[Finding]:
    if watchdog.nowayout:
        yield fault(watchdog.device, "its driver was loaded with nowayout, so it cannot be closed, "
                    "and the agent does not open it", f"load it with nowayout=0 (is: "
                    f"{watchdog.identity})")
    if watchdog.timeout_s < watchdog.shortest_s:
        yield fault(watchdog.device, f"takes no timeout below {watchdog.shortest_s} s, and is to "
                    f"have {watchdog.timeout_s}", "raise timeout in [watchdog]")
    if 0 < watchdog.longest_s < watchdog.timeout_s:
        yield fault(watchdog.device, f"takes no timeout above {watchdog.longest_s} s, and is to "
                    f"have {watchdog.timeout_s}", "lower timeout in [watchdog]")


def _holder(watchdog: WatchdogDevice) -> Iterator[Finding]:
    if watchdog.holder_pid == 1:
        yield fault(watchdog.device, "is held by systemd, which feeds it whatever becomes of hamgr",
                    "RuntimeWatchdogSec=off in /etc/systemd/system.conf, or WatchdogDevice= there "
                    "for another device")
    elif watchdog.holder and not watchdog.ours:
        yield fault(watchdog.device, f"is held by {watchdog.holder} (process "
                    f"{watchdog.holder_pid})", "stop that and disable its unit: one process alone "
                    "can have it")
    elif watchdog.trouble:
        yield fault(watchdog.device, f"{watchdog.trouble}; the agent tries again each second",
                    "the journal of hamgr, and of the kernel, says more")
    elif watchdog.counts and not watchdog.holder:
        yield warning(watchdog.device, "counts, and nobody feeds it: this machine is about to be "
                      "reset", "`hamgr agent --cleanup`, or start the agent: both close it when "
                      "nothing is left running")
