"""The agent process: the real engine in a modelled shell, which keeps the shell's contract.

Order at every wake-up: a late loop says so first, then the tick, then what was received.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hamgr.core import effects as fx
from hamgr.core.events import (
    ConditionChanged,
    ConfigurationApplied,
    DeadlineSet,
    Event,
    HeartbeatReceived,
    LoopWasLate,
    MaintenanceKept,
    RecordRead,
    ServiceAnswered,
    StopAsked,
    Tick,
)
from hamgr.core.heartbeat import Heartbeat
from hamgr.core.spec import ClusterSpec
from hamgr.core.types import MICROSECOND, MILLISECOND, Duration, Found, GroupName, Instant, NodeName
from hamgr.simulation.addresses import AddressWork
from hamgr.simulation.clock import Action
from hamgr.simulation.disk import RETRY, DiskWork
from hamgr.simulation.documents import Following, spec_of
from hamgr.simulation.network import Datagram
from hamgr.simulation.services import UPWARD
from hamgr.simulation.session import Session
from hamgr.simulation.versions import NEWER, as_newer

if TYPE_CHECKING:
    from hamgr.simulation.host import Host

LATE: Duration = 5 * MILLISECOND
"""From this lateness on the loop reports itself."""
SOCKET_BUFFER = 200
"""Datagrams that the kernel keeps for a frozen process."""
ACTIONS = frozenset({fx.ClaimAddresses, fx.WithdrawAddresses, fx.LoosenAddresses,
                     fx.TightenAddresses, fx.RunService, fx.KeepMaintenance})
"""Effects that touch what a group runs."""
SPINS_MAX = 300
"""Ticks in a row that leave the engine's deadline in the past."""


class Agent:
    """One agent process, from its start to its end."""

    def __init__(self, host: "Host", rng: random.Random) -> None:
        self.host = host
        self.alive = True
        self.frozen = False
        self.incarnation = 0
        self.born: Instant = host.world.now
        self.engine: Any = None
        self._world = host.world
        self.rng = self._rng = rng
        self.version = host.version
        self.disk_work = DiskWork(host.world.scheduler, rng, lambda: host.disk, self.in_process)
        self._following = Following(self, self._configure)
        self._wire = host.world.wire if host.version < NEWER else host.newer_wire
        self._mailbox: list[tuple[Action, tuple[Any, ...]]] = []
        self._datagrams = 0
        self._timer = host.clock.timer(self._tick_due)
        self._due: Instant = 0
        self._spins = 0
        self._asked: list[int] = []  # serials of deadlines that the switch has yet to confirm
        self._deadline: Instant = 0
        self._armed: list[GroupName] = []
        self._session: Session | None = None
        self._addresses: AddressWork | None = None
        self._above, self._stopping = 0, False
        self._executors = self._make_executors()

    @property
    def able(self) -> bool:
        """Whether it would act now."""
        return self.alive and not self.frozen

    def claiming(self, group: GroupName) -> bool:
        """Whether it is just putting the group's addresses on."""
        return self._addresses is not None and self._addresses.claiming(group)

    def start(self) -> None:
        """Take over from a former switch, clean up, and begin a life."""
        self.host.new_switch()
        self._clean_later()

    def stop(self) -> None:
        """SIGTERM."""
        self._stopping = True
        self.in_process(self.post, StopAsked(why="asked to stop"))

    def die(self, flush: bool) -> None:
        """The process is gone; `flush`: the kernel still sends what it had written."""
        self.alive = False
        self._timer.cancel()
        self._end_life(flush)

    def freeze(self) -> None:
        """Stop running."""
        self.frozen = True

    def thaw(self) -> None:
        """Run again: late tick first, then all that came in the meantime, in order."""
        self.frozen = False
        self._datagrams = 0
        if self.engine is not None:
            self._tick()
        mailbox, self._mailbox = self._mailbox, []
        for action, args in mailbox:
            self.in_process(action, *args)

    def receive(self, datagram: Datagram, ring: int) -> None:
        """A datagram lies in the socket."""
        if not self.frozen:
            self.post(HeartbeatReceived(heartbeat=self._read_datagram(datagram), ring=ring))
        elif self._datagrams < SOCKET_BUFFER:
            self._datagrams += 1
            self._mailbox.append((self.receive, (datagram, ring)))

    def unread(self) -> list[tuple[NodeName, int]]:
        """Return of whom, and which incarnation, heartbeats lie in the socket."""
        found = [self._read_datagram(args[0])
                 for action, args in self._mailbox if action == self.receive]
        return [(one.sender, one.incarnation) for one in found if not one.answer]

    def _read_datagram(self, datagram: Datagram) -> Heartbeat:
        if isinstance(datagram, Heartbeat):
            return datagram
        heartbeat = self._wire.decode(datagram, self.host.name)
        assert isinstance(heartbeat, Heartbeat), f"dropped as {heartbeat}"
        return heartbeat

    def in_process(self, action: Action, *args: Any) -> None:
        """Run something that needs this process: now, when it is thawed, or never."""
        if self.frozen:
            self._mailbox.append((action, args))
        elif self.alive:
            action(*args)

    def post(self, event: Event) -> None:
        """Hand an event to the engine and carry out what it wants."""
        if self.engine is not None and self.alive:
            self._handle(event, self.host.clock.now())

    def switch_died(self) -> None:
        """Start another switch, with what the former one knew."""
        switch = self.host.new_switch()
        switch.deadline = self._deadline  # the shared page is the agent's, and still there
        for group in self._armed:
            switch.arm(group)
        self._feed_switch()

    def _handle(self, event: Event, now: Instant) -> None:
        engine = self.engine
        if isinstance(event, RecordRead):
            self._following.read(event)
        watch, host = self._world.watch, self.host
        watch.seen(host, event)
        for effect in engine.handle(event, now):
            kind = type(effect)
            if kind in ACTIONS:
                watch.does(host, effect)
            self._executors[kind](effect)
            if self.engine is not engine:
                return
        due = max(engine.deadline(), now)
        if due != self._due or self._timer.instant != due:
            spread = 20 if self._rng.random() < 0.002 else 0.3
            self._timer.set(due, int(self._rng.random() * spread * 0.2 * MILLISECOND))
            self._due = due

    def _tick_due(self) -> None:
        if self.able and self.engine is not None:
            self._tick()

    def _tick(self) -> None:
        now = max(self._due, self.host.clock.now())
        lateness = self.host.clock.now() - self._due
        if lateness > LATE:
            self._handle(LoopWasLate(lateness=lateness), now)
        if self.engine is None:
            return
        self._handle(Tick(), now)
        self._spins = self._spins + 1 if self._due == now else 0
        assert self._spins < SPINS_MAX, "the engine's deadline stays in the past"

    def _clean_later(self) -> None:
        takes = int((1 + 30 * self._rng.random()) * MILLISECOND)
        self._world.scheduler.after(takes, self.in_process, self._clean)

    def _clean(self) -> None:
        if self._rng.random() < 0.02:
            return self._clean_later()
        kept = self.host.disk.maintenance
        for group in self._world.watch.groups():
            if group not in kept:
                self.host.kernel.remove(group)
                self.host.services.sweep(group)
        return self._begin_life()

    def _begin_life(self) -> None:
        disk = self.host.disk
        if disk.full:  # no incarnation can be kept, so no life begins
            self._world.scheduler.after(RETRY, self.in_process, self._begin_life)
            return
        disk.incarnation = self.incarnation = max(disk.incarnation, self._above) + 1
        disk.maintenance = {group: epoch for group, epoch in disk.maintenance.items()
                            if self.host.in_place(group)}
        world, host = self._world, self.host
        spec = host.installed if disk.document is None else spec_of(disk.document)
        names = tuple(world.hosts)  # every seat that there is, whatever the file says
        self._addresses = AddressWork(world.scheduler, self._rng, host.kernel, self.post,
                                      self.in_process)
        now = host.clock.now()
        world.watch.reborn(host)
        self.engine = world.make_engine(
            spec, host.name, self.incarnation, now, known_cluster=disk.facts[0],
            known_revision=disk.facts[1], in_place=dict(disk.maintenance),
            config_digest=disk.document.digest if disk.document is not None else "",
            version=str(self.version))
        self._session = Session(world.scheduler, world.rng(f"session/{host.name}/{world.now}"),
                                world.ensemble, host.name, names, host.reaches, self.post,
                                self.in_process)
        self._session.slowness = world.zookeeper_slowness.get(host.name, 0)
        self._session.start()
        self._due = now
        self._handle(Tick(), now)
        if not host.carrier:
            self.tell_conditions()

    def tell_conditions(self) -> None:
        """Tell the engine whether the interface of its addresses has a carrier."""
        carrier = self.host.carrier
        why = "" if carrier else "no carrier"
        for group in self._world.spec.groups:
            self.post(ConditionChanged(group=group.name, ok=carrier, why=why))

    def _configure(self, spec: ClusterSpec, digest: str) -> None:
        self._world.note(self.host.name, f"GOES BY configuration {digest}")
        self.post(ConfigurationApplied(spec=spec, digest=digest))
        if not self.host.carrier:
            self.tell_conditions()

    def _end_life(self, flush: bool) -> None:
        self.engine = None
        self._asked.clear()
        if self._session is not None:
            self._session.end(flush)
            self._session = None
        if self._addresses is not None:
            self._addresses.end()
            self._addresses = None

    def set_slowness(self, slowness: Duration) -> None:
        """How much longer messages to and from ZooKeeper may take."""
        if self._session is not None:
            self._session.slowness = slowness

    def _make_executors(self) -> dict[type, Callable[[Any], None]]:
        return {
            fx.SendHeartbeat: self._send, fx.Write: self._write, fx.Read: self._read,
            fx.KeepFacts: self._keep_facts, fx.KeepMaintenance: self._keep_maintenance,
            fx.SetDeadline: self._set_deadline, fx.ArmSwitch: self._arm,
            fx.DisarmSwitch: self._disarm, fx.ClaimAddresses: self._claim,
            fx.WithdrawAddresses: self._withdraw, fx.LoosenAddresses: self._loosen,
            fx.TightenAddresses: self._tighten, fx.RunService: self._run_service,
            fx.CancelService: self._cancel_service, fx.RunDevice: self._run_device,
            fx.TellReplicas: lambda _: None,
            fx.Report: self._report, fx.BeginNewLife: self._new_life, fx.Exit: self._exit,
        }

    def _send(self, effect: fx.SendHeartbeat) -> None:
        self._world.watch.sent(self.host, effect.heartbeat)
        encodes = self._world.encodes
        datagram = self._wire.encode(effect.heartbeat, effect.to) if encodes else effect.heartbeat
        self._world.network.send(self.host.name, effect.to, datagram)

    def _write(self, effect: fx.Write) -> None:
        assert self._session is not None
        self._world.watch.write_sent(self.host, effect)
        self._session.write(as_newer(effect) if self.version >= NEWER else effect)

    def _read(self, effect: fx.Read) -> None:
        assert self._session is not None
        self._session.read(effect.paths)

    def _keep_facts(self, effect: fx.KeepFacts) -> None:
        def write() -> None:
            self.host.disk.facts = (effect.cluster_id, effect.revision)
        self.disk_work.submit(write)

    def _keep_maintenance(self, effect: fx.KeepMaintenance) -> None:
        def write() -> None:
            self.host.disk.keep_maintenance(effect.group, effect.epoch, effect.on)
        life = self.engine
        self.disk_work.submit(write, lambda: self._post_to(
            life, MaintenanceKept(group=effect.group, on=effect.on)))

    def _set_deadline(self, effect: fx.SetDeadline) -> None:
        self._deadline = effect.deadline
        self._asked += [effect.serial] if effect.confirm else []
        self._feed_switch()

    def _feed_switch(self) -> None:
        asked = tuple(self._asked)  # also of a switch that died before it confirmed them
        if self.host.switch is not None:
            self.host.switch.set_deadline(self._deadline, lambda: self._confirmed(asked))

    def _confirmed(self, serials: tuple[int, ...]) -> None:
        for serial in [one for one in serials if one in self._asked]:
            self._asked.remove(serial)
            self._later(100 * MICROSECOND, DeadlineSet(serial=serial))

    def _arm(self, effect: fx.ArmSwitch) -> None:
        if effect.group not in self._armed:
            self._armed.append(effect.group)
        if self.host.switch is not None:
            self.host.switch.arm(effect.group)

    def _disarm(self, effect: fx.DisarmSwitch) -> None:
        if effect.group in self._armed:
            self._armed.remove(effect.group)
        if self.host.switch is not None:
            self.host.switch.disarm(effect.group)

    def _claim(self, effect: fx.ClaimAddresses) -> None:
        assert self._addresses is not None
        assert effect.group in self._armed, f"{effect.group} claimed, but the switch is not armed"
        self._addresses.claim(effect.group, effect.epoch, effect.probe)
        self._world.watch.started(self.host, effect.group, effect.epoch)

    def _withdraw(self, effect: fx.WithdrawAddresses) -> None:
        assert self._addresses is not None
        self._addresses.withdraw(effect.group, effect.epoch)
        self._world.watch.changed(self.host, effect.group)

    def _loosen(self, effect: fx.LoosenAddresses) -> None:
        assert self._addresses is not None
        self._addresses.loosen(effect.group)

    def _tighten(self, effect: fx.TightenAddresses) -> None:
        assert self._addresses is not None
        self._addresses.tighten(effect.group, effect.epoch)

    def _run_service(self, effect: fx.RunService) -> None:
        self.host.services.run(effect, self._service_answered)
        if effect.action in UPWARD and effect.epoch:
            self._world.watch.started(self.host, effect.group, effect.epoch)

    def _service_answered(self, run: fx.RunService, ok: bool, why: str, found: Found) -> None:
        self._later(MILLISECOND, ServiceAnswered(run=run.run, group=run.group, action=run.action,
                                                 service=run.service, ok=ok, why=why, found=found))

    def _cancel_service(self, effect: fx.CancelService) -> None:
        self.host.services.cancel(effect.run, self._service_answered)

    def _run_device(self, effect: fx.RunDevice) -> None:
        if effect.action == "off":
            self._world.watch.fencing(self.host, effect)
        self._world.hosts[effect.node].device.run(
            effect, lambda answered: self.in_process(self.post, answered))

    def _report(self, effect: fx.Report) -> None:
        self._world.report(self.host, effect)

    def _new_life(self, effect: fx.BeginNewLife) -> None:
        if self._stopping:
            return self._exit(fx.Exit())
        self._above = effect.incarnation_above
        self._world.note(self.host.name, f"NEW LIFE above {self._above}: {effect.why}")
        self._end_life(flush=True)
        return self._clean_later()

    def _exit(self, _: fx.Exit) -> None:
        self._world.note(self.host.name, "EXIT")
        self.die(flush=True)
        self.host.end_switch(act=False)
        self.host.agent_gone()

    def _later(self, spread: Duration, event: Event) -> None:
        delay = int(self._rng.random() * spread)
        self._world.scheduler.after(delay, self.in_process, self._post_to, self.engine, event)

    def _post_to(self, life: object, event: Event) -> None:
        if life is self.engine:
            self.post(event)
