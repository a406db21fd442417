"""What each kind of fault does to the world, and how it is undone: one entry of KINDS for each."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hamgr.core.events import ServiceChanged
from hamgr.core.types import MILLISECOND, SECOND, Found, NodeName
from hamgr.simulation.disk import Disk
from hamgr.simulation.network import Weather
from hamgr.simulation.operators import (
    ask,
    change_times,
    change_voters,
    configure,
    drain,
    remove_node,
    upgrade,
    vouch,
)
from hamgr.simulation.scenario import Fault

if TYPE_CHECKING:
    from hamgr.simulation.host import Host
    from hamgr.simulation.turmoil import Turmoil

Undo = Callable[[], None]
RESTART = 100 * MILLISECOND
"""systemd's RestartSec for the agent, where a fault names no other."""
STOP_TIMEOUT = 8 * SECOND
"""systemd's TimeoutStopSec: after it an orderly stop becomes SIGKILL."""
SWITCH_RESTART = 20 * MILLISECOND
"""The agent notices that its switch died, and has started another."""

Strike = Callable[["Turmoil", Fault, NodeName, NodeName], Undo | None]


def _host(turmoil: "Turmoil", node: NodeName) -> "Host":
    return turmoil.world.hosts[node]


def _cast(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    for part in ("holder", "heir", "leader", "voter"):
        turmoil.cast[part] = turmoil.find(part)
    turmoil.cast["owner"] = turmoil.cast["holder"]
    known = (turmoil.cast["holder"], turmoil.cast["heir"], turmoil.cast["voter"])
    others = [name for name in turmoil.world.hosts if name not in known]
    for number, name in enumerate(others, 2):
        turmoil.cast[f"voter{number}"] = name


def _crash(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    host = _host(turmoil, target)
    host.crash()
    turmoil.crashed(target)
    if fault.amount:
        host.disk = Disk()
    return host.boot


def _kill_agent(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    host = _host(turmoil, target)
    host.kill_agent()
    if not fault.duration:
        turmoil.world.scheduler.after(RESTART, host.start_agent)
    return host.start_agent


def _restart_agent(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    host = _host(turmoil, target)
    host.kill_agent()
    host.start_agent()


def _stop_agent(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    host = _host(turmoil, target)
    agent = host.agent
    if agent is not None:
        agent.stop()

    def kill_if_still_there() -> None:
        if host.agent is agent:
            host.kill_agent()
            host.start_agent()

    def start_when_gone() -> None:
        turmoil.world.scheduler.after(STOP_TIMEOUT, kill_if_still_there)
        host.start_agent()

    return start_when_gone


def _stall(agent: bool, switch: bool) -> Strike:
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
        host = _host(turmoil, target)
        host.stall(agent, switch)
        return host.thaw
    return strike


def _pause(jump: bool) -> Strike:
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
        host = _host(turmoil, target)
        host.pause()
        return lambda: host.wake(jump)
    return strike


def _wake(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    _host(turmoil, target).wake()


def _switch_crash(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    host = _host(turmoil, target)
    if host.switch is None or not host.switch.alive:
        return
    host.end_switch(act=False)
    agent = host.agent
    if agent is not None:

        def restart() -> None:
            if host.agent is agent and host.switch is None:
                agent.in_process(agent.switch_died)

        turmoil.world.scheduler.after(SWITCH_RESTART, restart)


def _links(turmoil: "Turmoil", links: list[tuple[NodeName, NodeName]],
           ring: int | None = None) -> Undo:
    world = turmoil.world
    for sender, receiver in links:
        world.network.cut(sender, receiver, ring)
    world.ensemble.reconsider()

    def mend() -> None:
        for sender, receiver in links:
            world.network.mend(sender, receiver, ring)
        world.ensemble.reconsider()

    return mend


def _cut(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    return _links(turmoil, [(target, peer)])


def _cut_both(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    return _links(turmoil, [(target, peer), (peer, target)])


def _around(inbound: bool, outbound: bool) -> Strike:
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
        others = [name for name in turmoil.world.hosts if name != target]
        links = [(name, target) for name in others] if inbound else []
        links += [(target, name) for name in others] if outbound else []
        mend = _links(turmoil, links)
        if not fault.amount:
            return mend
        mend_zookeeper = _cut_zookeeper(turmoil, [target], True, True)

        def both() -> None:
            mend()
            mend_zookeeper()

        return both
    return strike


def _partition(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    names = list(turmoil.world.hosts)
    turmoil.world.rng(f"partition/{fault.at}").shuffle(names)
    names.remove(target)
    side = [target, *names[:max(0, int(fault.amount) - 1)]]
    rest = [name for name in turmoil.world.hosts if name not in side]
    return _links(turmoil, [pair for one in side for other in rest
                            for pair in ((one, other), (other, one))])


def _ring_down(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    names = list(turmoil.world.hosts)
    ring = int(fault.amount) % turmoil.world.scenario.rings
    return _links(turmoil, [(one, other) for one in names for other in names if one != other],
                  ring)


def _weather(turmoil: "Turmoil", weather: Weather) -> Undo:
    turmoil.world.network.set_weather(weather)
    return lambda: turmoil.world.network.end_weather(weather)


def _loss(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    return _weather(turmoil, Weather(target, loss=fault.amount))


def _late(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    return _weather(turmoil, Weather(target, late=fault.amount, lateness=600 * MILLISECOND))


def _reordered(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    return _weather(turmoil, Weather(target, late=fault.amount, lateness=120 * MILLISECOND))


def _duplicated(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    return _weather(turmoil, Weather(target, duplicate=fault.amount))


def _cut_zookeeper(turmoil: "Turmoil", nodes: list[NodeName], requests: bool,
                   replies: bool) -> Undo:
    cuts = turmoil.world.zookeeper_cuts
    keys = [(node, way) for node in nodes
            for way, chosen in ((True, requests), (False, replies)) if chosen]
    for key in keys:
        cuts[key] = cuts.get(key, 0) + 1

    def mend() -> None:
        for key in keys:
            left = cuts.pop(key, 0) - 1
            if left > 0:
                cuts[key] = left

    return mend


def _zk_cut(requests: bool, replies: bool) -> Strike:
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
        nodes = [target] if target else list(turmoil.world.hosts)
        return _cut_zookeeper(turmoil, nodes, requests, replies)
    return strike


def _zk_down(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    world = turmoil.world
    for server in world.ensemble.servers:
        world.ensemble.set_up(server, False)

    def start() -> None:
        for server in world.ensemble.servers:
            up = not server.host or world.hosts[server.host].powered
            world.ensemble.set_up(server, up)

    return start


def _zk_leaderless(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    turmoil.world.ensemble.lose_leader(fault.duration)
    return turmoil.world.ensemble.hasten


def _zk_isolate(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    ensemble = turmoil.world.ensemble
    number = (list(turmoil.world.hosts).index(target) if target else int(fault.amount)) % 3
    server = ensemble.servers[number]
    server.isolated += 1
    ensemble.reconsider()

    def mend() -> None:
        server.isolated -= 1
        ensemble.reconsider()

    return mend


def _zk_slow(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    hosts = turmoil.world.hosts
    nodes = [target] if target else list(hosts)

    def set_to(slowness: int) -> None:
        for node in nodes:
            turmoil.world.zookeeper_slowness[node] = slowness
            agent = hosts[node].agent
            if agent is not None:
                agent.set_slowness(slowness)

    set_to(int(fault.amount * SECOND))
    return lambda: set_to(0)


def _slew(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    _host(turmoil, target).clock.slew(int(fault.amount))


def _luck(name: str) -> Strike:
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
        return _share(_host(turmoil, target).services.luck, name, fault.amount)
    return strike


def _service_dies(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    """One service of each group ends; a driver notices that where no monitor looks."""
    host = _host(turmoil, target)
    for group in turmoil.world.spec.groups:
        if group.services:
            service = group.services[int(fault.amount) % len(group.services)]
            host.services.die(group.name, service.name)
            if host.agent is not None and not service.monitor_interval:
                host.agent.in_process(host.agent.post, ServiceChanged(
                    group=group.name, service=service.name, found=Found.STOPPED, why="it ended"))


def _device(name: str) -> Strike:
    def strike(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
        return _share(_host(turmoil, target).device, name, fault.amount or 1.0)
    return strike


def _share(owner: object, name: str, amount: float) -> Undo:
    usual = 0.2 if name == "fails" else 0.0
    setattr(owner, name, amount)
    return lambda: setattr(owner, name, usual)


def _disk_full(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    host = _host(turmoil, target)
    host.disk.full = True

    def room() -> None:
        host.disk.full = False
    return room


def _carrier_lost(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> Undo:
    host = _host(turmoil, target)

    def say(ok: bool) -> None:
        host.carrier = ok
        if host.agent is not None:
            host.agent.in_process(host.agent.tell_conditions)

    say(False)
    return lambda: say(True)


def _address_removed(turmoil: "Turmoil", fault: Fault, target: NodeName, peer: NodeName) -> None:
    host = _host(turmoil, target)
    turmoil.world.watch.conduct.lost(host)  # an agent that starts in maintenance finds nothing
    for group in host.kernel.groups():
        host.kernel.remove(group)


KINDS: dict[str, Strike] = {
    "cast": _cast,
    "crash": _crash, "kill_agent": _kill_agent, "restart_agent": _restart_agent,
    "stop_agent": _stop_agent,
    "stall": _stall(agent=True, switch=True), "stall_agent": _stall(agent=True, switch=False),
    "stall_switch": _stall(agent=False, switch=True), "pause": _pause(jump=False),
    "pause_jump": _pause(jump=True), "wake": _wake,
    "switch_crash": _switch_crash,
    "cut": _cut, "cut_both": _cut_both, "isolate": _around(inbound=True, outbound=True),
    "deaf": _around(inbound=True, outbound=False), "mute": _around(inbound=False, outbound=True),
    "partition": _partition, "ring_down": _ring_down, "loss": _loss, "late": _late,
    "reordered": _reordered, "duplicated": _duplicated,
    "zk_cut": _zk_cut(requests=True, replies=True),
    "zk_replies_lost": _zk_cut(requests=False, replies=True),
    "zk_requests_lost": _zk_cut(requests=True, replies=False),
    "zk_down": _zk_down, "zk_leaderless": _zk_leaderless, "zk_isolate": _zk_isolate,
    "zk_slow": _zk_slow, "slew": _slew,
    "switchover": ask("switchover"), "standby": ask("standby"), "resume": ask("resume"),
    "maintenance_on": ask("maintenance-on"), "maintenance_off": ask("maintenance-off"),
    "clear": ask("clear"), "drain": drain, "voters": change_voters, "times": change_times,
    "fence": ask("fence"), "vouch": vouch,
    "configure": configure, "remove_node": remove_node, "upgrade": upgrade,
    "start_fails": _luck("start_fails"), "stop_fails": _luck("stop_fails"),
    "services_lie": _luck("lies"), "service_dies": _service_dies,
    "promote_fails": _luck("promote_fails"), "demote_fails": _luck("demote_fails"),
    "monitor_fails": _luck("monitor_fails"), "services_hang": _luck("hangs"),
    "demote_hangs": _luck("demote_hangs"), "services_slow": _luck("slow"),
    "fence_fails": _device("fails"), "fence_hangs": _device("hangs"),
    "fence_lies": _device("lies"), "fence_denies": _device("denies"),
    "disk_full": _disk_full,
    "carrier_lost": _carrier_lost, "address_removed": _address_removed,
}
"""Every kind of fault by its name in a schedule."""
