"""Checks of the machine: its clock, who else manages it, what the agent was allowed, its units."""

from collections.abc import Iterator

from hamgr.agent.facts import AgentStatus
from hamgr.doctor.facts import (
    AgentHome,
    Clock,
    Disk,
    Here,
    Managers,
    Network,
    Units,
    WallClocks,
)
from hamgr.doctor.finding import Finding, fault, note, ok, warning

SLEW_MAX = 0.08
"""What detection allows for between two clocks' rates (docs/protocol.md, times)."""
SLEW_NOTE = 0.001
"""NTP itself stays within 500 ppm (RFC 5905); chrony slews by up to 8.3 % (maxslewrate)."""
APART_S = 1.0
SPACE = 32 << 20
"""Bytes: the flight recorder's 16 MiB, twice."""
SPACE_MIN = 1 << 20
UNIT = "hamgr.service"


def clock_rate(clock: Clock) -> Iterator[Finding]:
    """CLOCK_MONOTONIC, on which leases rest, runs at about its proper rate.

    Setting the wall clock does not touch it, but slewing does (clock_gettime(2), adjtimex(2)).
    """
    percent = f"{abs(clock.slew) * 100:.2f} % {'fast' if clock.slew > 0 else 'slow'}"
    if abs(clock.slew) > SLEW_MAX:
        yield fault("clock", f"it is made to run {percent}, and leases allow for {SLEW_MAX:.0%}",
                    "limit the slewing (chrony: maxslewrate 1000), and step the clock instead: a "
                    "step does no harm")
    elif abs(clock.slew) > SLEW_NOTE:
        yield note("clock", f"it is made to run {percent} just now; leases allow for "
                   f"{SLEW_MAX:.0%}")
    else:
        yield ok("clock", "runs at its proper rate")
    if not clock.synchronised:
        yield note("clock", "the wall clock is not synchronised: no lease rests on it, but times "
                   "in logs of several nodes will not match",
                   "run an NTP client (chrony, systemd-timesyncd)")


def wall_clock(wall_clocks: WallClocks) -> Iterator[Finding]:
    """Times in the logs of several nodes can be compared. Nothing else rests on them."""
    for node, ahead in wall_clocks.ahead.items():
        if abs(ahead) > APART_S:
            yield note(node, f"its wall clock is {abs(ahead):.1f} s "
                       f"{'ahead of' if ahead > 0 else 'behind'} this node's; no lease rests on it",
                       "run an NTP client on both")
        else:
            yield ok(node, f"its wall clock agrees within {abs(ahead):.2f} s")


def managed_elsewhere(here: Here, network: Network, managers: Managers) -> Iterator[Finding]:
    """Nobody else removes VIPs or hands them out."""
    for name, pid in managers.processes.items():
        yield warning(name, f"runs here (process {pid}), and may give addresses to this node or "
                      "take them away", "see that it has no VIP of hamgr's; if it does nothing "
                      "else, stop it and disable its unit")
    own = (network.link_of(str(address)) for address in here.document.node[here.node].addresses)
    ours = sorted({link.name for link in own if link is not None}
                  | {place.interface for place in network.vips if place.interface})
    for interface in ours:
        if interface in managers.networkd:
            yield _networkd(interface, managers.networkd[interface])
        if interface in managers.networkmanager:
            yield _networkmanager(interface)
    if not managers.processes and not {*ours} & {*managers.networkd, *managers.networkmanager}:
        yield ok(", ".join(ours) or "here", "nobody else who is known manages addresses there")


def _networkd(interface: str, kept: str) -> Finding:
    if kept in ("yes", "static"):
        return ok(interface, "systemd-networkd keeps foreign addresses there "
                  f"(KeepConfiguration={kept})")
    return warning(
        interface, "systemd-networkd manages it, and removes addresses that it did not add when it "
        "restarts (systemd issue 12050); hamgr adds a VIP again at once, and a client may notice",
        f"KeepConfiguration=static in the [Network] section of {interface}'s file "
        "(systemd.network(5)); for routes and rules ManageForeignRoutes=no and "
        "ManageForeignRoutingPolicyRules=no (networkd.conf(5))")


def _networkmanager(interface: str) -> Finding:
    return warning(
        interface, "NetworkManager manages it, and removes addresses that it did not add when the "
        "connection is brought up anew; hamgr adds a VIP again at once, and a client may notice",
        f"unmanaged-devices=interface-name:{interface} in the [keyfile] section of "
        "NetworkManager.conf(5), and its addresses elsewhere; or do not touch the connection "
        "while this node is active")


def real_time(agent: AgentStatus) -> Iterator[Finding]:
    """The agent runs when it must: real-time priority, and no page of it on a disk."""
    me = agent.process
    if me.realtime.startswith("ordinary"):
        yield warning("agent", f"has no real-time priority: {me.realtime}; on a busy machine it "
                      "may lose its lease", "LimitRTPRIO=41 in the unit, as systemd/hamgr.service "
                      "has it; in a container, CAP_SYS_NICE")
    else:
        yield ok("agent", me.realtime)
    if me.memory_locked:
        yield ok("agent", "memory locked")
    else:
        yield warning("agent", "its memory is not locked: a page that comes back from a disk may "
                      "cost it its lease", "LimitMEMLOCK=infinity in the unit; in a container, "
                      "CAP_IPC_LOCK")


def switch(agent: AgentStatus, home: AgentHome) -> Iterator[Finding]:
    """The switch lives, and outlives whatever ends the agent."""
    me = agent.process
    if not me.switch_alive:
        yield fault("switch", "no dead-man's switch runs: an agent that is frozen or killed leaves "
                    "its VIPs here until their lifetime ends",
                    "the journal of hamgr and hamgr-deadman says why it does not start")
    elif me.switch_ends_with_us:
        yield warning("switch", f"runs in the control group of {home.unit}, and is killed with it",
                      "enable hamgr-deadman.socket, then restart the agent (in maintenance, if "
                      "nothing may move)")
    else:
        yield ok("switch", f"runs, {'in its own unit' if home.unit else 'as a child of the agent'}")


def units_enabled(units: Units) -> Iterator[Finding]:
    """The agent comes back after a reboot."""
    for unit, state in units.enabled.items():
        if state in ("enabled", "static", "alias", "indirect"):
            yield ok(unit, state)
            continue
        known, remedy = state not in ("", "not-found"), f"`systemctl enable {unit}`"
        if not known:
            remedy = f"install it (docs/systemd.md), then {remedy}"
        elif state.startswith("masked"):
            remedy = f"`systemctl unmask {unit}`, then {remedy}"
        yield warning(unit, f"is {state if known else 'not known to systemd'}: after a reboot it "
                      "does not start", remedy)


def state_directory(disk: Disk) -> Iterator[Finding]:
    """The state directory takes what must be kept: an agent cannot start without a new incarnation
    on disk, nor go into maintenance."""
    if disk.read_only:
        yield fault(disk.path, "its disk is read-only: the next start of the agent fails",
                    "mend and remount it")
    elif disk.free < SPACE_MIN:
        yield fault(disk.path, f"{disk.free >> 10} KiB are free: the next start of the agent "
                    "fails, and so does maintenance", "free its disk")
    elif disk.free < SPACE:
        yield warning(disk.path, f"{disk.free >> 20} MiB are free: the flight recorder alone may "
                      "take 16", "free its disk")
    else:
        yield ok(disk.path, f"{disk.free >> 20} MiB are free")
