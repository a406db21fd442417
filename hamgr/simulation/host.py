"""A host: power, clock, disk, kernel, services, and two processes, the switch and the agent.

What belongs to the host outlives the processes, and what lies on its disk outlives its power.
"""

from typing import TYPE_CHECKING, Any

from hamgr.core.spec import GroupSpec
from hamgr.core.types import MILLISECOND, SECOND, Duration, GroupName, Instant, NodeName
from hamgr.simulation.agent import Agent
from hamgr.simulation.clock import Action, Clock
from hamgr.simulation.devices import FenceDevice
from hamgr.simulation.disk import Disk
from hamgr.simulation.kernel import Kernel
from hamgr.simulation.network import Datagram
from hamgr.simulation.services import Services
from hamgr.simulation.switch import Switch
from hamgr.simulation.versions import KEY, THIS, NewerWire

if TYPE_CHECKING:
    from hamgr.simulation.world import World
    from hamgr.simulation.zookeeper import Server

RING_BUFFER = 64
"""Datagrams that a paused machine's network card keeps for it; later ones are lost."""

LOCK_RETRY: Duration = 20 * MILLISECOND
"""Between two looks of a starting agent at the lock that another process holds."""


class Host:
    """One machine of the cluster."""

    def __init__(self, world: "World", name: NodeName) -> None:
        self.world = world
        self.name = name
        self.powered = True
        self.paused = False
        self.dead_for_good = False
        self.disk = Disk()
        self.installed = world.spec
        """The configuration file of the machine: what an agent goes by that knows no other."""
        self.version = THIS
        """Of hamgr, as an agent that starts now has it."""
        self.newer_wire = NewerWire(world.spec.name, [KEY])
        self.carrier = True
        self.condemned = False
        """Its fence device said that it is off, and it is not yet."""
        self.woken_at: Instant = -1
        """World time at which it last woke from a pause of the whole machine."""
        self.helped_at: Instant = -1
        """World time since which a process of ours is able to act again."""
        rng = world.rng(f"host/{name}")
        self.rng = rng
        self.device = FenceDevice(self, world.rng(f"device/{name}"))
        drift = world.scenario.drift_ppm
        self.clock = Clock(world.scheduler, int((1 + 100 * rng.random()) * SECOND),
                           int((2 * rng.random() - 1) * drift))
        self.kernel = Kernel(self.clock, world.rng(f"kernel/{name}"), self._changed)
        self.services = Services(world.scheduler, world.rng(f"services/{name}"),
                                 self._group, self._changed, self.when_awake)
        self.switch: Switch | None = None
        self.agent: Agent | None = None
        self._asleep: list[tuple[Action, tuple[Any, ...]]] = []

    def _group(self, name: GroupName) -> GroupSpec | None:
        """Return a group also when it has just gone from the file, and still runs."""
        return self.world.known.get(name)

    def active(self, group: GroupName) -> bool:
        """Whether anything of the group is, or is just being put, to work here."""
        return (self.kernel.has(group) or self.services.running(group)
                or (self.agent is not None and self.agent.claiming(group)))

    def serving(self, group: GroupName) -> bool:
        """Whether a client of the group is served here."""
        spec = self.world.spec.group(group)
        return (spec is not None and not self.paused
                and (self.kernel.has(group) or not spec.has_addresses)
                and self.services.at_top(spec))

    def in_place(self, group: GroupName) -> bool:
        """Whether maintenance may have left something of a group here (hamgr.agent.cleaning)."""
        spec = self._group(group)
        services = spec is not None and (bool(spec.services) or not spec.has_addresses)
        return self.kernel.has(group) or (services and not self.disk.rebooted)

    @property
    def helpless(self) -> bool:
        """Nobody here could stop anything: agent and switch are both gone or frozen."""
        agent_able = self.agent is not None and self.agent.able
        switch_able = self.switch is not None and self.switch.able
        return self.powered and not (agent_able or switch_able)

    def reaches(self, server: "Server", to_server: bool) -> bool:
        """Whether a message between this host and one of ZooKeeper's servers gets through."""
        world, there = self.world, server.host
        if not server.up or not self.powered or world.is_cut_off(self.name, server, to_server):
            return False
        if not there or there == self.name:
            return True
        return world.path(self.name, there) if to_server else world.path(there, self.name)

    def start_agent(self) -> None:
        """Start the agent, if the machine runs and none is there.

        A frozen switch holds the agents' lock, and answers no signal before it runs again.
        """
        if self.powered and self.switch is not None and self.switch.frozen:
            self.world.scheduler.after(LOCK_RETRY, self.start_agent)
        elif self.powered and not self.paused and self.agent is None:
            if self.helpless:
                self.helped_at = self.world.now
            self.agent = Agent(self, self.world.rng(f"agent/{self.name}/{self.world.now}"))
            self.agent.start()

    def start_after_stop(self) -> None:
        """Start the agent once the one that was told to stop has gone."""
        if self.powered and self.agent is not None:
            self.world.scheduler.after(LOCK_RETRY, self.start_after_stop)
        else:
            self.start_agent()

    def agent_gone(self) -> None:
        """The agent's process ended; the switch goes on alone."""
        self.agent = None
        if self.switch is not None:
            self.switch.fed = False
        self.world.watch.recheck(self)

    def kill_agent(self) -> None:
        """SIGKILL."""
        if self.agent is not None:
            self.agent.die(flush=True)
            self.agent_gone()

    def new_switch(self) -> Switch:
        """End the former switch, which acts at once if it can, and start another."""
        self.end_switch(act=True)
        switch = self.switch = Switch(self.world.scheduler, self.clock,
                                      self.world.rng(f"switch/{self.name}/{self.world.now}"),
                                      self.cut_off)
        return switch

    def end_switch(self, act: bool) -> None:
        """End the switch: in order, by SIGTERM (it acts), or by a crash (it does not)."""
        if self.switch is not None:
            if act and self.switch.able:
                self.switch.act()
            self.switch.end()
            self.switch = None
            self.world.watch.recheck(self)

    def cut_off(self, group: GroupName) -> None:
        """The switch withdraws the addresses.

        What else runs is down within `stop_within`: that is its owner's word (rule 14), which this
        world keeps. The switch itself kills nothing.
        """
        self.world.note(self.name, f"SWITCH cuts {group} off")
        self.kernel.remove(group)
        within = self.world.watch.stop_within(group)
        assert self.switch is not None
        self.world.scheduler.after(int(self.rng.random() * 0.9 * within), self.when_awake,
                                   self._kill, group, self.switch, self.switch.disarmed[group])

    def _kill(self, group: GroupName, switch: Switch, disarmed: int) -> None:
        """End what ran when the switch acted, unless it has stopped and started since."""
        if switch.disarmed[group] == disarmed:
            self.services.kill(group)

    def crash(self) -> None:
        """The power is cut."""
        if not self.powered:
            return
        self.powered = self.paused = self.condemned = False
        self.disk.rebooted = True
        if self.agent is not None:
            self.agent.die(flush=False)
            self.agent = None
        if self.switch is not None:
            self.switch.end()
            self.switch = None
        self._asleep.clear()
        self.world.watch.conduct.lost(self)
        self.kernel.power_off()
        self.services.power_off()
        self.world.power_changed(self)

    def boot(self) -> None:
        """The power is back; the agent starts when the system has come up."""
        if self.powered or self.dead_for_good:
            return
        self.powered = True
        self.clock.restart(int((0.5 + self.rng.random()) * SECOND))
        self.world.power_changed(self)
        self.world.scheduler.after(int(self.rng.random() * 200 * MILLISECOND),
                                   self.when_awake, self.start_agent)

    def pause(self) -> None:
        """The hypervisor stops the whole machine, its clock too."""
        if self.powered and not self.paused:
            self.paused = True
            self.clock.stop()
            self._freeze(agent=True, switch=True)
            self.world.power_changed(self)

    def wake(self, jump: bool = False) -> None:
        """The machine goes on as if no time had passed; `jump`: its clock makes up for it at once.

        Both are seen: a guest's CLOCK_MONOTONIC stands still while it is suspended or moved, and
        leaps when its virtual CPUs were merely not run.
        """
        if not self.paused:
            return
        self.paused = False
        self.woken_at = self.world.now
        self.clock.go(jump)
        self.world.power_changed(self)
        asleep, self._asleep = self._asleep, []
        for action, args in asleep:
            self.when_awake(action, *args)
        self.thaw()

    def stall(self, agent: bool = True, switch: bool = True) -> None:
        """Freeze processes of ours, while the kernel and the clock go on."""
        self._freeze(agent, switch)
        self.world.watch.recheck(self)

    def thaw(self) -> None:
        """Let the processes run again."""
        if self.paused:
            return
        if self.helpless:
            self.helped_at = self.world.now
        if self.switch is not None and self.switch.frozen:
            self.switch.thaw()
        if self.agent is not None and self.agent.frozen:
            self.agent.thaw()
        self.world.watch.recheck(self)

    def receive(self, datagram: Datagram, ring: int) -> None:
        """A datagram reached the machine."""
        if self.agent is None or not self.powered:
            return
        if self.paused:
            if len(self._asleep) < RING_BUFFER:
                self._asleep.append((self.receive, (datagram, ring)))
            return
        self.agent.receive(datagram, ring)

    def when_awake(self, action: Action, *args: Any) -> None:
        """Run something of this machine's: now, or when it wakes; never after a power cut."""
        if self.paused:
            self._asleep.append((action, args))
        elif self.powered:
            action(*args)

    def _freeze(self, agent: bool, switch: bool) -> None:
        if agent and self.agent is not None:
            self.agent.freeze()
        if switch and self.switch is not None:
            self.switch.freeze()

    def _changed(self, group: GroupName) -> None:
        self.world.watch.changed(self, group)
