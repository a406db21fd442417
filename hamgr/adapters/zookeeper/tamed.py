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
- With TLS, kazoo trusts whom the operating system trusts as well, and waits for the kernel to
  announce an answer that TLS has decrypted along with the one before. Here ca_file alone counts,
  and such an answer is read at once.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import KeeperState

from hamgr.adapters.zookeeper.access import OPEN, Access, HandshakeError
from hamgr.adapters.zookeeper.connection import TamedConnection


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

    def __init__(self, loop: asyncio.AbstractEventLoop, patience_s: float,
                 access: Access = OPEN) -> None:
        super().__init__()
        self.completion_queue = self.callback_queue = _LoopQueue(loop)
        self._patience_s = patience_s
        self._access = access
        self._connection: socket.socket | None = None

    def start(self) -> None:
        """Start no worker threads: the loop does their work."""

    def stop(self) -> None:
        """Stop nothing, see `start`."""

    def dispatch_callback(self, callback: Any) -> None:
        """Run a watch callback in the loop."""
        self.callback_queue.put(functools.partial(callback.func, *callback.args))

    def create_connection(self, address: tuple[str, int], *, hostname: str, timeout: float,
                          **_: Any) -> socket.socket:
        """Connect within the patience; unsent and unacknowledged data do not outlive it.

        Raises OSError, HandshakeError and AccessError. kazoo's own options for TLS are not used.
        """
        context = self._access.tls() if self._access.tls is not None else None
        patience = min(timeout, self._patience_s)
        sock: socket.socket = super().create_connection(address, timeout=patience)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._patience_s * 1000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if context is not None:
            sock = _encrypted(sock, context, hostname)
        self._connection = sock
        return sock

    def select(self, readable: Sequence[Any], *others: Any, **options: Any) -> Any:
        """Wait until a socket is ready; one with decrypted data is so at once."""
        decrypted = [one for one in readable if isinstance(one, ssl.SSLSocket) and one.pending()]
        if not decrypted:
            return super().select(readable, *others, **options)
        rest = [one for one in readable if one not in decrypted]
        ready, *more = super().select(rest, [], [], 0)
        return decrypted + ready, *more

    def cut(self) -> None:
        """Break the connection, whatever its thread waits for."""
        if self._connection is not None:
            with contextlib.suppress(OSError):  # broken already, which is all that is wanted
                # Not SSLSocket.shutdown: that ends the decryption under the thread that reads.
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


def _encrypted(sock: socket.socket, context: ssl.SSLContext, hostname: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(sock, server_hostname=hostname)
    except OSError as error:
        sock.close()
        raise HandshakeError(str(error)) from error


class TamedClient(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """A KazooClient that refuses requests while it has no connection, or is not let in yet."""

    def __init__(self, *, handler: LoopHandler, access: Access, failed: Callable[[str, str], None],
                 **options: Any) -> None:
        """`failed` is told which server does not let us in, and why; in the handler's loop."""
        self._gate = threading.RLock()
        self._introducing = False
        super().__init__(handler=handler, default_acl=access.acl(), **options)
        self._connection = TamedConnection(
            self, access,
            lambda *word: handler.completion_queue.put(functools.partial(failed, *word)),
            retry_sleeper=self._conn_retry.copy(), logger=self.logger)

    @contextlib.contextmanager
    def unannounced(self) -> Iterator[None]:
        """Tell of the connection that is made inside only when it is through."""
        self._introducing = True
        try:
            yield
        finally:
            self._introducing = False
        self._session_callback(KeeperState.CONNECTED)

    def _call(self, request: Any, result: Any) -> Any:
        with self._gate:
            if self._state != KeeperState.CONNECTED:
                result.set_exception(NotSent("no connection to ZooKeeper"))
                return False
            return super()._call(request, result)

    def _session_callback(self, state: Any) -> None:
        """Change state. Under the gate, so that no request slips in behind the lost connection."""
        with self._gate:
            if not (self._introducing and state == KeeperState.CONNECTED):
                super()._session_callback(state)
