"""A connection to systemd over the system bus, made again whenever it is lost.

D-Bus is spoken by dbus-fast: it works in an asyncio loop without a thread and without ever
blocking it (connecting included, since version 5), is typed, has wheels and no dependency, and is
maintained for Home Assistant. jeepney is smaller, but untyped and hardly maintained; sdbus binds
the C library, whose calls block.

A call is answered, refused or lost: `Lost` says that the connection broke first, and that nobody
knows what became of the call. Whoever holds state that rests on signals must look at everything
anew after each connection, since signals are lost with it: `came` is called for that.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dbus_fast import Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from hamgr.adapters.services.systemd.faults import Lost, Refused

log = logging.getLogger(__name__)

BOOTED = Path("/run/systemd/system")
"""There if, and only if, systemd is the service manager (sd_booted(3))."""
SYSTEMD, MANAGER_PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
DAEMON, DAEMON_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
RETRY_MIN_S, RETRY_MAX_S = 0.05, 1.0
"""Seconds between attempts to connect, doubled each time. One that fails costs 0.1 ms."""
CONNECT_S, SETTLE_S = 5.0, 30.0
"""Seconds for greeting the bus, and for all that `came` asks: systemd answers nothing while it
reloads, which takes seconds on a large machine."""
_GONE = frozenset(f"org.freedesktop.DBus.Error.{name}" for name in (
    "Disconnected", "NameHasNoOwner", "NoReply", "NoServer", "ServiceUnknown", "Timeout"))
"""Errors that the bus gives in systemd's place (D-Bus specification, and dbus-protocol.h)."""


class Bus:
    """Stays connected to systemd from `start` to `close`."""

    def __init__(self, address: str, heard: Callable[[Message], None],
                 came: Callable[[], Awaitable[None]], lost: Callable[[Lost], None]) -> None:
        """address is a D-Bus address, "" that of the system bus (DBUS_SYSTEM_BUS_ADDRESS, or where
        the D-Bus specification has it); heard is called for each signal, came
        on each connection, before it counts as there, and lost when it is over."""
        self._address = (address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
                         or "unix:path=/run/dbus/system_bus_socket")
        self._heard, self._came, self._lost = heard, came, lost
        self._bus: MessageBus | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._there, self._owned = asyncio.Event(), asyncio.Event()
        self._why = ""
        """Why the connection was broken, if by us."""
        self.trouble = ""
        """In words, why systemd cannot be reached; empty while it can."""
        self.absent = False
        """There is no bus at all, so that waiting for it would be in vain."""

    async def start(self) -> None:
        """Begin to connect; return when that has been tried once, or takes long."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await self._tried.wait()

    async def close(self) -> None:
        """Disconnect for good."""
        bus = self._bus
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if bus is not None:
            await _gone(bus)

    async def there(self) -> None:
        """Wait until systemd can be reached. Raises Refused if there is no bus at all."""
        if self.absent:
            raise Refused(self.trouble)
        await self._there.wait()

    def drop(self, why: str) -> None:
        """Break the connection, so that everything is begun anew."""
        if self._bus is not None and self._bus.connected:
            self._why = why
            self._bus.disconnect()

    async def call(self, member: str, signature: str = "", *body: object, path: str = MANAGER_PATH,
                   interface: str = MANAGER, to: str = SYSTEMD) -> list[Any]:
        """Call a method; return what it answers. Raises Refused and Lost."""
        bus = self._connected()
        try:
            reply = await bus.call(Message(
                destination=to, path=path, interface=interface, member=member,
                signature=signature, body=list(body), flags=MessageFlag.NO_AUTOSTART))
        except (OSError, EOFError, DBusFastError) as error:
            raise Lost("the system bus hung up") from error
        assert reply is not None
        if reply.message_type is not MessageType.ERROR:
            return list(reply.body)
        text = str(reply.body[0]) if reply.body else str(reply.error_name)
        if reply.error_name in _GONE:
            self.drop(f"systemd is not on the system bus: {text}")
            raise Lost(self._why)
        raise Refused(text.rstrip("."), str(reply.error_name))

    def send(self, member: str, signature: str, *body: object) -> None:
        """Call a method of the manager whose answer nobody waits for; lost if nobody is there."""
        if self._bus is not None and self._bus.connected:
            self._bus.send(Message(
                destination=SYSTEMD, path=MANAGER_PATH, interface=MANAGER, member=member,
                signature=signature, body=list(body),
                flags=MessageFlag.NO_AUTOSTART | MessageFlag.NO_REPLY_EXPECTED))

    async def match(self, rule: str, on: bool = True) -> None:
        """Have signals delivered from now on, or no more. Raises Lost."""
        await self._ask_daemon("AddMatch" if on else "RemoveMatch", f"type='signal',{rule}")

    async def _ask_daemon(self, member: str, argument: str) -> list[Any]:
        return await self.call(member, "s", argument, path=DAEMON_PATH, interface=DAEMON,
                               to=DAEMON)

    def _connected(self) -> MessageBus:
        # A message to a connection that is over would be answered by nobody, ever.
        if self._bus is None or not self._bus.connected:
            raise Lost(self.trouble or "the connection to the system bus broke")
        return self._bus

    async def _keep(self) -> None:
        delay = RETRY_MIN_S
        while True:
            try:
                self._bus = await self._connect()
                async with asyncio.timeout(SETTLE_S):
                    await self._settle()
                self._say("", absent=False)
                delay = RETRY_MIN_S
                await self._stay(self._bus)
            except (OSError, EOFError, DBusFastError, Lost, Refused) as error:
                self._say(self._words(error), absent=isinstance(error, FileNotFoundError))
            finally:
                self._over()
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY_MAX_S)

    async def _connect(self) -> MessageBus:
        async with asyncio.timeout(CONNECT_S):
            return await MessageBus(self._address).connect()

    async def _settle(self) -> None:
        assert self._bus is not None
        self._owned = asyncio.Event()
        self._bus.add_message_handler(self._take)
        await self.match(f"sender='{DAEMON}',member='NameOwnerChanged',arg0='{SYSTEMD}'")
        # A bus that has just been started is there before systemd has come to it.
        if not (await self._ask_daemon("NameHasOwner", SYSTEMD))[0]:
            await self._owned.wait()
        await self._came()

    async def _stay(self, bus: MessageBus) -> None:
        self._why = "the system bus hung up"
        self._there.set()
        await _gone(bus)
        raise Lost(self._why)

    def _take(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.sender == DAEMON:
            _, old, new = message.body
            if old:  # signals may have been lost
                self.drop("systemd has executed itself anew" if new else "systemd has left the bus")
            self._owned.set()
            return
        self._heard(message)

    def _over(self) -> None:
        self._there.clear()
        self.drop("")
        self._bus = None
        self._lost(Lost(self.trouble))
        self._tried.set()

    def _say(self, trouble: str, *, absent: bool) -> None:
        if trouble and not self.trouble:
            log.warning("systemd cannot be reached: %s; hamgr tries again until it can", trouble)
        elif self.trouble and not trouble:
            log.info("systemd can be reached again")
        self.trouble, self.absent = trouble, absent
        self._tried.set()

    def _words(self, error: Exception) -> str:
        where = self._address.removeprefix("unix:path=")
        if isinstance(error, FileNotFoundError):
            return f"no system bus at {where}: " + (
                "the package dbus is missing, or dbus.socket is stopped" if BOOTED.is_dir()
                else "systemd does not run here")
        if isinstance(error, ConnectionRefusedError):
            return f"nobody answers at {where}: the system bus is stopped"
        if isinstance(error, TimeoutError):
            return f"the system bus at {where}, or systemd on it, does not answer"
        return str(error)


async def _gone(bus: MessageBus) -> None:
    """Wait until a connection is over, however it ends."""
    with suppress(EOFError, OSError, DBusFastError):
        # Shielded: who is cancelled here would cancel the future for all others.
        await asyncio.shield(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
