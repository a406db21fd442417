"""The composition root: builds an agent from a configuration; alone knows all the parts."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import hamgr
from hamgr.access import access_by
from hamgr.adapters.alarm import Alarm
from hamgr.adapters.fence import Devices
from hamgr.adapters.net.addresses import Addresses
from hamgr.adapters.net.nics import look
from hamgr.adapters.net.vip import Vip
from hamgr.adapters.realtime import Garbage, RealTime, become_realtime
from hamgr.adapters.runlock import RunLock
from hamgr.adapters.services.ocf.keeping import boot_of
from hamgr.adapters.services.ocf.peers import Peers, alone
from hamgr.adapters.services.ocf.shared import SharedAttributes
from hamgr.adapters.store import Configuration, DirectoryStore, this_boot
from hamgr.adapters.switch import SwitchProcess
from hamgr.adapters.systemd import Notifier, log_handler
from hamgr.adapters.udp import UdpTransport
from hamgr.adapters.watchdog import KernelWatchdog
from hamgr.adapters.watchdog.holder import Settings
from hamgr.adapters.watchdog.left import Leftover
from hamgr.adapters.zookeeper import ZooKeeper, deadline_for
from hamgr.agent.answers import Answers
from hamgr.agent.cleaning import Sweep, feeding, longest_chain
from hamgr.agent.dispatch import Ports
from hamgr.agent.facts import KernelAddress
from hamgr.agent.life import GRACE, Agent
from hamgr.agent.outside import About, Candidate, Outside
from hamgr.config.document import Reading, cluster_spec, digest, read
from hamgr.config.faults import ConfigError, Fault
from hamgr.config.kept import not_in_file, to_be_spared
from hamgr.config.key import read_keys
from hamgr.config.private import KeyFileError
from hamgr.config.schema import Document
from hamgr.config.seal import sealed
from hamgr.core.events import Event
from hamgr.core.records import Config, Plan
from hamgr.core.types import SECOND, Duration, GroupName, Instant
from hamgr.devices import devices
from hamgr.drivers import Drivers, picture, shared_attributes
from hamgr.engine import Engine
from hamgr.place import Place
from hamgr.ports import Post
from hamgr.prospect import Prospect, Standpoint, rings, vips
from hamgr.wire import Wire

THREAD_TURN_S = 0.0005
"""How long another thread may keep the interpreter from the loop; Python's default is 5 ms."""

logger = logging.getLogger("hamgr.daemon")


def run(place: Place) -> int:
    """Be the agent until told to stop; return the exit status.

    Raises AgentRunsError if there is one already, KeyFileError without a usable key, ConfigError
    if the file lacks what is in maintenance here, and OSError if a directory, a socket or an old
    dead-man's switch is in the way: each with the remedy.
    """
    log_to_outside()
    lock = RunLock(place.run_dir)
    lock.take()
    if faults := _not_in_file(place.document, _store(place)):
        raise ConfigError(str(place.config), faults)
    lock.end_old_switch()
    realtime = become_realtime()
    sys.setswitchinterval(THREAD_TURN_S)
    return asyncio.run(_live(place, lock, realtime))


def cleanup(place: Place) -> None:
    """Remove what an agent that is gone has left, except what is in maintenance (rule 21).

    Raises AgentRunsError while an agent lives, OSError with whatever cannot be removed, and
    ConfigError, afterwards, if the file lacks what is in maintenance here.
    """
    log_to_outside()
    lock = RunLock(place.run_dir)
    lock.take()
    lock.end_old_switch()
    try:
        store = _store(place)
        leftover = Leftover(place.run_dir)
        asyncio.run(_sweep(place, store, Notifier(), leftover))
        leftover.swept()
        if faults := _not_in_file(place.document, store):
            raise ConfigError(str(place.config), faults)
    finally:
        lock.close()


def log_to_outside() -> None:
    """Log to the journal if standard error leads there, else to standard error."""
    logging.basicConfig(level=logging.INFO, handlers=[log_handler()], force=True)
    logging.getLogger("kazoo").setLevel(logging.WARNING)


async def _live(place: Place, lock: RunLock, realtime: RealTime) -> int:
    def post(event: Event) -> None:
        agent.post(event)

    with closing(Alarm()) as alarm:
        parts = _Parts(place, lock, post)
        agent = Agent(_about(place), parts.ports, parts.outside(realtime, alarm))
        parts.show_cluster(agent.fed)
        return await agent.run()


async def _sweep(place: Place, store: DirectoryStore, notifier: Notifier,
                 leftover: Leftover) -> None:
    answers, spec = Answers(), cluster_spec(place.document)

    def post(event: Event) -> None:
        answers.take(event)

    addresses = _addresses(place.wide, post)
    drivers = Drivers(place.node, place.wide, post, _attributes(place), place.state_dir)
    await drivers.start()
    try:
        sweep = Sweep(place.node, spec, addresses=addresses, services=drivers, store=store,
                      answers=answers, spared=to_be_spared(place.document, store.kept_vips()))
        await feeding(sweep.run_patiently(notifier.tell, GRACE + longest_chain(spec)), leftover)
    finally:
        await drivers.close()
        await addresses.close()


class _Parts:
    """Every adapter of one agent, and what it shows of them."""

    def __init__(self, place: Place, lock: RunLock, post: Post) -> None:
        document = self._document = place.document
        self._wide, self._text = place.wide, place.text
        cluster = document.cluster
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._notifier = Notifier()
        self._garbage = Garbage()
        self._wire = _wire(document)
        self._transport = UdpTransport(
            place.node, rings(document), document.heartbeat.port, self._wire, post)
        self._addresses = _addresses(self._wide, post, self._interfaces_changed)
        attributes = _attributes(place)
        self._coordinator = ZooKeeper(
            place.node, tuple(document.node), cluster.name,
            [str(server) for server in cluster.zookeeper], post,
            session_timeout_s=document.zookeeper.session / SECOND,
            deadline_s=deadline_for(document.timing), access=access_by(document.zookeeper),
            macs=self._addresses.macs, attributes=attributes)
        attributes.publish = self._coordinator.attributes_changed
        self._switch = SwitchProcess(tuple(self._wide.group), post, run_dir=place.run_dir,
                                     lock_fd=lock.fileno())
        self._watchdog = KernelWatchdog(place.run_dir)
        self._watchdog.configure(*_watchdog(document, self._wide))
        self._drivers = Drivers(place.node, place.wide, post, attributes, place.state_dir)
        self._devices = Devices(devices(document), post)
        self._store = _store(place)
        self.ports = Ports(
            transport=self._transport, coordinator=self._coordinator, addresses=self._addresses,
            switch=self._switch, watchdog=self._watchdog, services=self._drivers,
            devices=self._devices,
            store=self._store)

    def show_cluster(self, fed: Callable[[], Engine | None]) -> None:
        """Have resource agents see the cluster as the engine does, while there is one."""
        def look() -> Peers:
            engine = fed()
            return alone(self._place.node) if engine is None else picture(
                engine, time.monotonic_ns())
        self._drivers.see(look)

    def outside(self, realtime: RealTime, alarm: Alarm) -> Outside:
        """Return what the agent is told of the process around it."""
        return Outside(
            notify=self._notifier.tell, watchdog=self._notifier.watchdog, call_at=alarm.call_at,
            settle=self._garbage.settle, collect=self._garbage.collect,
            awake=self._awake,
            collections=lambda: tuple(self._garbage.collections), kernel=self._kernel,
            counters=self._counters, reload=self._reload, keys=self._transport.keys,
            attributes=self._drivers.attributes, consider=self._consider, seal=self._seal,
            keep=self._keep, enter=self._enter, narrow=self._narrow,
            switch_alive=lambda: self._switch.alive,
            switch_ends_with_us=lambda: (
                self._notifier.managed and self._switch.facts.home == "child"),
            realtime=realtime.scheduling, memory_locked=realtime.memory_locked)

    def _awake(self, now: Instant) -> None:
        for errand in (self._addresses.renewal, self._switch.checking):
            errand.awake(now)
        self._watchdog.progress(now)

    def _interfaces_changed(self) -> None:
        self._coordinator.announce_again()
        for group, messages in self._addresses.withdrawal_messages().items():
            self._switch.load(group, messages)

    def _kernel(self) -> tuple[KernelAddress, ...]:
        found = {(group, one.address): one
                 for group, those in self._addresses.found().items() for one in those}
        belongs = self._addresses.interfaces()
        return tuple(
            KernelAddress(
                group=name, address=str(vip.address),
                interface=one.interface if one else belongs.get(str(vip.address.ip), ""),
                present=one is not None, lifetime_s=one.lifetime_s if one else None)
            for name, group in self._document.group.items() for vip in group.vips
            for one in (found.get((name, str(vip.address.ip))),))

    def _counters(self) -> dict[str, dict[str, int]]:
        switch = self._switch.facts
        return {
            "heartbeats": dict(self._transport.counters()),
            "dropped_last_minute": dict(self._transport.dropped_lately()),
            "rings_last_minute": dict(self._transport.rings_lately()),
            "switch": {"deaths": switch.deaths, "acts": switch.acts},
            "garbage": {"longest_us": self._garbage.longest // 1000},
        }

    def _reload(self) -> tuple[str, ...]:
        """Take over changed keys and secrets, and check the file: applying it to a running cluster
        is not what SIGHUP does."""
        return *self._keys_again(), *self._devices.read_secrets(), *_news(
            read(self._place.config, files=True), self._place.config, self._document)

    def _keys_again(self) -> tuple[str, ...]:
        """Take over the keys as they are on disk now, if they can be used; say so if they differ.

        Called in the disk thread: the transport, which is the loop's, gets them whole, between two
        datagrams.
        """
        file = self._document.cluster.key_file
        try:
            wire = _wire(self._document)
        except KeyFileError as error:
            return (f"{error}; the keys in use stay",)
        if wire.keys == self._wire.keys:
            return ()
        self._wire = wire
        self._loop.call_soon_threadsafe(self._transport.use, wire)
        return (f"{file} is in use as it is now: key {wire.keys[0]} signs"
                + "".join(f", {other} is accepted too" for other in wire.keys[1:]),)

    def _consider(self, config: Config, plan: Plan | None) -> Prospect:
        return Standpoint(
            node=self._place.node, document=self._document, wide=self._wide, plan=plan,
            maintained=tuple(self._store.maintenance()),
            lacking=lambda document: _not_in_file(document, self._store),
            keys=self._keys(), make_room=self._make_room).consider(config)

    def _seal(self, config: Config) -> Config:
        return sealed(config, self._keys()[0])

    def _keys(self) -> tuple[bytes, ...]:
        """Return those on disk. Raises OSError."""
        try:
            return read_keys(self._document.cluster.key_file)
        except KeyFileError as error:
            raise OSError(str(error)) from error

    async def _make_room(self, prospect: Prospect) -> None:
        """Have every adapter know what is new, and still what is to be stopped. Raises OSError."""
        new, wide = prospect.document, prospect.wide
        staying = {name: new.group.get(name, group) for name, group in wide.group.items()}
        try:
            self._switch.configure(tuple(wide.group))
            await self._have_addresses({name: vips(group) for name, group in staying.items()}, new)
        except ValueError as error:  # more than the switch can guard
            raise OSError(str(error)) from error
        self._drivers.configure(wide)
        await self._drivers.start()
        self._devices.configure((*devices(self._document), *devices(new)))
        await self._devices.start()
        self._transport.configure(prospect.rings)
        self._store.configure(_kept_vips(new))

    async def _have_addresses(self, groups: dict[GroupName, tuple[Vip, ...]],
                              document: Document) -> None:
        await self._addresses.configure(
            groups, valid_lft_s=document.address.valid_lft // SECOND,
            renewal_s=document.address.renewal / SECOND)

    def _keep(self, config: Config, alone: bool) -> None:
        kept = self._store.configuration()
        former = () if alone else tuple(dict.fromkeys((*kept.former, self._text)))
        self._store.keep_configuration(Configuration(config.revision, config.document, former))

    def _enter(self, prospect: Candidate) -> None:
        assert isinstance(prospect, Prospect)
        self._document, self._wide = prospect.document, prospect.wide
        self._text = prospect.text
        self._watchdog.configure(*_watchdog(self._document, self._wide))

    async def _narrow(self) -> None:
        document = self._document
        await self._have_addresses(
            {name: vips(group) for name, group in document.group.items()}, document)
        self._switch.configure(tuple(document.group))
        self._drivers.configure(document)
        self._devices.configure(devices(document))
        self._wide = document


def _store(place: Place) -> DirectoryStore:
    return DirectoryStore(place.state_dir, _kept_vips(place.document), boot=this_boot())


def _kept_vips(document: Document) -> dict[GroupName, tuple[str, ...]]:
    return {name: tuple(str(vip.address.ip) for vip in group.vips)
            for name, group in document.group.items()}


def _wire(document: Document) -> Wire:
    """Return what signs and accepts with the keys on disk. Raises KeyFileError."""
    cluster = document.cluster
    return Wire(cluster.name, read_keys(cluster.key_file))


def _watchdog(document: Document, wide: Document) -> tuple[
        Settings | None, dict[GroupName, Duration]]:
    """Return what the watchdog goes by: its settings, and what each group promises."""
    found = document.watchdog
    settings = None if found.device is None else Settings(
        device=found.device, timeout=int(found.timeout))
    return settings, {name: int(group.stop_within) for name, group in wide.group.items()}


def _not_in_file(document: Document, store: DirectoryStore) -> tuple[Fault, ...]:
    """Return what the file lacks of what is in maintenance here. Raises OSError."""
    kept = store.kept_vips()
    vips = [Vip(address, ip_address(address).max_prefixlen, None)
            for addresses in kept.values() for address in addresses]
    there = {vip.address for vip, sighting in zip(vips, look(vips), strict=True)
             if sighting.present}
    return not_in_file(document, kept, there)


def _news(reading: Reading, config: Path, used: Document) -> list[str]:
    """Return in words what a file that was read again says."""
    if reading.document is None:
        return [f"the configuration cannot be used; the one in use stays: "
                f"{fault.located(str(config))}" for fault in reading.faults]
    if digest(reading.document) == digest(used):
        return [f"{config} says what is in use"]
    return [f"{config} differs from the configuration in use; hamgr config diff shows how, and "
            "hamgr config apply applies it"]


def _attributes(place: Place) -> SharedAttributes:
    return shared_attributes(place.node, place.document, boot_of(place.run_dir, this_boot()),
                             place.state_dir)


def _about(place: Place) -> About:
    return About(
        node=place.node, spec=cluster_spec(place.document), rings=rings(place.document),
        version=hamgr.__version__, config=str(place.config), leftovers=cluster_spec(place.wide),
        former=bool(place.former),
        applied=Config(revision=place.revision, document=place.text,
                       digest=digest(place.document)),
        run_dir=place.run_dir, state_dir=place.state_dir)


def _addresses(document: Document, post: Post,
               interfaces_changed: Callable[[], None] = lambda: None) -> Addresses:
    return Addresses({name: vips(group) for name, group in document.group.items()}, post,
                     interfaces_changed=interfaces_changed,
                     valid_lft_s=document.address.valid_lft // SECOND,
                     renewal_s=document.address.renewal / SECOND)
