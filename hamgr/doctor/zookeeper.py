"""Checks of the ZooKeeper ensemble, by what its servers answer to four-letter words.

Failover does not wait for ZooKeeper, but every change of the plan does: naming the next heir, a
switchover, a node that comes back. A server answers only the words in its 4lw.commands.whitelist
(ZooKeeper Administrator's Guide), which is `srvr` alone unless it says otherwise.
"""

from collections.abc import Iterator

from hamgr.agent.facts import AgentStatus
from hamgr.core.types import MILLISECOND, SECOND
from hamgr.doctor.facts import Ensemble, Here, Server
from hamgr.doctor.finding import Finding, fault, note, ok, warning
from hamgr.doctor.heartbeats import heard

SLOW_MS = 100.0
"""A connection and one answer; a network and a server that are well take some milliseconds."""
AVERAGE_MS = 50.0
"""Of all requests. A change of the plan takes two or three writes, one after the other."""
FSYNC_MS = 20.0
"""On average. A disk of its own takes 1 to 10 ms; one that is shared with a database, seconds."""
FSYNC_MAX_MS = 1000.0
"""ZooKeeper's own limit for a warning in its log (fsync.warningthresholdms)."""


def ensemble_size(here: Here) -> Iterator[Finding]:
    """The loss of a server leaves a majority: three servers or more, an odd number."""
    count = len(here.document.cluster.zookeeper)
    remedy = "use three servers, on three machines; the third can be a witness's"
    if count == 1:
        yield warning("ensemble", "one server: without it nothing can be planned", remedy)
    elif count % 2 == 0:
        yield warning("ensemble", f"{count} servers survive no more losses than {count - 1}",
                      remedy)
    else:
        yield ok("ensemble", f"{count} servers")


def servers(ensemble: Ensemble) -> Iterator[Finding]:
    """Every server is there, and says how it is."""
    for server in ensemble.servers:
        if server.fault:
            yield fault(server.name, f"cannot be reached from here: {server.fault}",
                        "see whether the server runs and whether a firewall lets this node in "
                        "(TCP)")
        elif server.refusal:
            yield fault(server.name, server.refusal, "mend the file that it names, here or there; "
                        "docs/zookeeper.md has what both sides need")
        elif not server.serves:
            yield fault(server.name, "takes connections and serves nobody: it is in no majority",
                        "start the servers that are missing, and see whether they reach each other "
                        "on the ports in their server.N lines (usually 2888 and 3888); an election "
                        "takes a moment: run this again")
        elif "srvr" in server.answers:
            yield ok(server.name, f"answers, {_mode(server) or 'and tells no mode'}")
        elif "srvr" in server.forbidden:
            yield note(server.name, "takes connections, and does not answer `srvr`: whether it "
                       "serves is not checked", "add srvr to its 4lw.commands.whitelist")
        else:
            yield fault(server.name, "takes connections and answers nothing: it hangs, or wants "
                        "TLS", "look at its log, and at ca_file in [zookeeper]")
        if silent := [word for word in ("mntr", "conf") if word in server.forbidden]:
            yield note(server.name, f"does not answer {' and '.join(silent)}: disk times and "
                       "limits are not checked",
                       f"add {','.join(silent)} to its 4lw.commands.whitelist")


def leader(ensemble: Ensemble) -> Iterator[Finding]:
    """The servers are one ensemble, with one leader."""
    modes = {server.name: _mode(server) for server in ensemble.servers if _mode(server)}
    leaders = [name for name, mode in modes.items() if mode == "leader"]
    if len(ensemble.servers) > 1:
        for name in (name for name, mode in modes.items() if mode == "standalone"):
            yield fault(name, "runs alone, although the configuration names several servers: its "
                        "data is not theirs", "give every server the same server.N lines")
    if len(leaders) > 1:
        yield fault(", ".join(leaders), "both lead: these are two ensembles, with two plans",
                    "give every server the same server.N lines; see which data is the right one "
                    "before you join them")
    elif leaders:
        yield ok(leaders[0], "leads")
    elif "standalone" not in modes.values() and (
            modes or not all(server.serves for server in ensemble.servers)):
        yield fault("ensemble", "no server that answers leads",
                    "start the servers that are missing: a majority is needed")


def latency(ensemble: Ensemble) -> Iterator[Finding]:
    """Servers answer quickly, at this moment and on average since they started."""
    for server in ensemble.servers:
        if "srvr" not in server.answers:
            continue
        average = _average(server)
        if server.answer_ms > SLOW_MS:
            yield warning(server.name, f"took {server.answer_ms:.0f} ms to connect and answer",
                          "look at the network on the way, and at the load of that machine")
        elif average is not None and average > AVERAGE_MS:
            yield warning(server.name, f"requests take {average:.0f} ms on average",
                          "look at its disk and load; `srst` begins the average anew")
        else:
            yield ok(server.name, f"answered in {server.answer_ms:.1f} ms"
                     + ("" if average is None else f"; {average:.1f} ms on average"))


def fsync(ensemble: Ensemble) -> Iterator[Finding]:
    """The transaction log gets to the disk, and soon: every write waits for it."""
    remedy = ("put dataLogDir on a disk of its own, away from databases and logs (ZooKeeper "
              "Administrator's Guide: \"A dedicated transaction log device is key\")")
    for server in ensemble.servers:
        if "mntr" not in server.answers:
            continue
        count, average, worst = (server.number("mntr", f"zk_{what}_fsynctime") or 0.0
                                 for what in ("cnt", "avg", "max"))
        exceeded = server.number("mntr", "zk_fsync_threshold_exceed_count") or 0.0
        if exceeded or worst > FSYNC_MAX_MS:
            yield warning(server.name, f"its disk took {worst:.0f} ms at worst for an fsync"
                          + (f", {exceeded:.0f} times more than its limit" if exceeded else ""),
                          remedy)
        elif average > FSYNC_MS:
            yield warning(server.name, f"an fsync takes {average:.0f} ms on average", remedy)
        elif not count and server.number("mntr", "zk_cnt_sync_process_time"):
            yield warning(server.name, "it writes, and never calls fsync (forceSync=no): after a "
                          "power cut it may have forgotten what it acknowledged, and the plan "
                          "goes back", "remove forceSync=no from its configuration")
        elif count:
            yield ok(server.name, f"fsync: {average:.1f} ms on average, {worst:.0f} at worst")


def session(here: Here, ensemble: Ensemble) -> Iterator[Finding]:
    """The session that is asked for is granted: 2 to 20 ticks, unless the server says otherwise."""
    asked = here.document.zookeeper.session / MILLISECOND
    for server in ensemble.servers:
        least, most = (server.number("conf", f"{end}SessionTimeout") for end in ("min", "max"))
        if least is not None and most is not None and not least <= asked <= most:
            yield note(server.name, f"grants sessions of {least:g} to {most:g} ms, and "
                       f"{asked:g} are asked for", "set tickTime (a session has 2 to 20 of them), "
                       "or session in [zookeeper]")


def connected(agent: AgentStatus) -> Iterator[Finding]:
    """The agent itself reaches ZooKeeper, and believes what it reads there (rule 25)."""
    if agent.snapshot is None:
        return
    known = agent.snapshot.plan.revision if agent.snapshot.plan else 0
    newer = {peer.node: peer.revision for peer in agent.snapshot.peers
             if peer.node in heard(agent) and peer.revision > known}
    if agent.snapshot.zookeeper and newer:
        yield fault(agent.node, f"the agent knows plan {known}, and "
                    + ", ".join(f"{node} knows plan {number}" for node, number in newer.items()),
                    "run this again: a new plan takes a moment to arrive; if it stays so, the "
                    "journal says why the plan cannot be read here (a newer version of hamgr wrote "
                    "it?)")
    elif agent.snapshot.zookeeper:
        yield ok(agent.node, "the agent reads and believes it")
    elif agent.process.started_ago_s > agent.spec.timing.claim / SECOND:
        why = agent.zookeeper_trouble or agent.snapshot.zookeeper_why or "it says no more"
        yield fault(agent.node, f"the agent is without ZooKeeper: {why}",
                    "nothing stops for that, and the heir can take over once; see the servers "
                    "above, and the journal")


def _mode(server: Server) -> str:
    return server.tells("srvr", "Mode")


def _average(server: Server) -> float | None:
    """Return the average latency of "Latency min/avg/max: 0/13.15/68", in ms."""
    parts = server.tells("srvr", "Latency min/avg/max").split("/")
    try:
        return float(parts[1])
    except (IndexError, ValueError):
        return None
