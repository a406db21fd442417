"""kazoo without its surprises: one thread, one order, nothing queued, nothing sent late.

What is changed, and why:

- kazoo (since 2.7) keeps requests while it has no connection and sends them when it has one
  again. Here they are refused, and the check is atomic with the loss of the connection.
- kazoo runs callbacks in two more threads, so that an answer can overtake the event that came
  before it. Here answers, watches and changes of state all go to the event loop, in the order
  in which the connection's thread met them.
- A dead server is noticed by the kernel too (TCP_USER_TIMEOUT); a connection attempt may not last
  as long as a session; and what a closed connection has not sent yet is thrown away (SO_LINGER 0)
  instead of reaching a server that comes back.
"""

import asyncio
import contextlib
import functools
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import KeeperState


class NotSent(ConnectionError):
    """The request was never sent, since no connection was there."""


class _LoopQueue:
    """Where kazoo puts callbacks: they run in the event loop, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def put(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            if not self._loop.is_closed():
                raise


class LoopHandler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's handler (its plug-in point for threads, queues and sockets) for an asyncio loop."""

    running = True

    def __init__(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        super().__init__()
        self.completion_queue = self.callback_queue = _LoopQueue(loop)
        self._patience_s = patience_s
        self._connection: socket.socket | None = None

    def start(self) -> None:
        """Start no worker threads: the loop does their work."""

    def stop(self) -> None:
        """Stop nothing, see `start`."""

    def dispatch_callback(self, callback: Any) -> None:
        """Run a watch callback in the loop."""
        self.callback_queue.put(functools.partial(callback.func, *callback.args))

    def create_connection(self, *args: Any, timeout: float, **options: Any) -> socket.socket:
        """Connect within the patience; unsent and unacknowledged data do not outlive it."""
        sock: socket.socket = super().create_connection(
            *args, timeout=min(timeout, self._patience_s), **options)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._patience_s * 1000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection = sock
        return sock

    def cut(self) -> None:
        """Break the connection, whatever its thread waits for."""
        if self._connection is not None:
            with contextlib.suppress(OSError):  # broken already, which is all that is wanted
                self._connection.shutdown(socket.SHUT_RDWR)


class TamedClient(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """A KazooClient that refuses requests while it has no connection."""

    def __init__(self, **options: Any) -> None:
        self._gate = threading.RLock()
        super().__init__(**options)

    def _call(self, request: Any, result: Any) -> Any:
        with self._gate:
            if self._state != KeeperState.CONNECTED:
                result.set_exception(NotSent("no connection to ZooKeeper"))
                return False
            return super()._call(request, result)

    def _session_callback(self, state: Any) -> None:
        """Change state. Under the gate, so that no request slips in behind the lost connection."""
        with self._gate:
            super()._session_callback(state)
