"""One kazoo client behind futures: every call is refused at once or over by its deadline.

A client whose calls stay without any answer is reported as stalled: its server hangs, its
network is cut, or its thread is stuck. kazoo itself would not notice as long as calls are made
(it takes every request for a ping). Nothing here rests on the session's timeout, asked or
negotiated: kazoo pings by it, and a client that stays away for long is replaced.
"""

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.exceptions import (
    AuthFailedError,
    CancelledError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry

from hamgr.adapters.zookeeper.access import OPEN, Access
from hamgr.adapters.zookeeper.tamed import LoopHandler, NotSent, TamedClient
from hamgr.core.timing import Timing
from hamgr.core.types import SECOND

log = logging.getLogger(__name__)
kazoo_log = logging.getLogger("hamgr.kazoo")
kazoo_log.setLevel(logging.ERROR)  # else a line for every attempt, all through an outage

DEADLINE_S = 1.0
"""Of a call, at most."""
IN_FLIGHT_MAX = 200
"""Calls without an answer. kazoo wakes its thread through a socket pair that holds some 270 bytes
of one call each; beyond that the loop itself would wait for a stuck thread."""
SESSION_MIN_S = 1.0
"""kazoo cannot hold shorter sessions: it sleeps up to 0.4 s at random between pings."""

_LOST = (AuthFailedError, CancelledError, ConnectionClosedError, ConnectionLoss,
         OperationTimeoutError, SessionExpiredError, SessionMovedError)


def deadline_for(timing: Timing) -> float:
    """Return the seconds that a call may take.

    Half the claim at most: a renewal that hangs leaves time for another through another server.
    """
    return min(DEADLINE_S, timing.claim / SECOND / 2)


class NotAnswered(TimeoutError):
    """The request may have been sent, and no answer came, or not in time."""


class Session:
    """One client, from its first connection attempt until it is closed or abandoned."""

    def __init__(self, hosts: Sequence[str], *, timeout_s: float,
                 changed: Callable[["Session", bool], None],
                 stalled: Callable[["Session"], None],
                 failed: Callable[["Session", str, str], None],
                 deadline_s: float = DEADLINE_S, access: Access = OPEN) -> None:
        """`failed` is told at each attempt which server does not let us in, and why in words; with
        none where it does not answer.

        It, `changed` and `stalled` are called in the loop. Raises ValueError for a bad timeout.
        """
        if timeout_s < SESSION_MIN_S:
            raise ValueError(f"a ZooKeeper session must last at least {SESSION_MIN_S:g} s")
        self._loop = asyncio.get_running_loop()
        self._deadline_s = deadline_s
        self._changed = changed
        self._stalled = stalled
        self._failed = failed
        self._waiting: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}
        self._in_flight = 0
        self._heard = self._loop.time()
        self._over = False
        self._handler = LoopHandler(self._loop, deadline_s, access)
        self._client = TamedClient(
            hosts=",".join(hosts), timeout=timeout_s, handler=self._handler, logger=kazoo_log,
            access=access, failed=self._not_let_in,
            connection_retry=KazooRetry(max_tries=-1, delay=0.05, backoff=2, max_delay=1.0,
                                        sleep_func=self._handler.sleep_func))
        self._client.add_listener(self._state_changed)

    @property
    def id(self) -> int:
        """ZooKeeper's id of this session, 0 without a connection."""
        known = self._client.client_id
        return int(known[0]) if known and known[0] else 0

    def start(self) -> None:
        """Begin to connect; `changed` tells when it has."""
        self._client.start_async()

    def submit(self, call: Callable[[Any], Any]) -> "asyncio.Future[Any]":
        """Make one call on the kazoo client; in the order in which they are made.

        The future ends with the server's result or error (a KazooException), with NotSent, or,
        at the latest by the deadline, with NotAnswered.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._over or self._in_flight >= IN_FLIGHT_MAX:
            future.set_exception(NotSent("no connection to ZooKeeper"))
            return future
        sent = self._loop.time()
        result = call(self._client)
        self._in_flight += 1
        self._waiting[future] = self._loop.call_later(self._deadline_s, self._late, future, sent)
        result.rawlink(functools.partial(self._answered, future))
        return future

    def abandon(self) -> None:
        """Break the connection and forget the client; what waits ends with NotAnswered."""
        self._end()
        self._handler.cut()
        self._stop_client(None)

    async def close(self, within_s: float) -> None:
        """End the session in order, so that what is ephemeral goes at once; return in time."""
        self._end()
        ended = asyncio.Event()
        self._stop_client(ended)
        try:
            async with asyncio.timeout(within_s):
                await ended.wait()
        except TimeoutError:
            self._handler.cut()

    def _end(self) -> None:
        self._over = True
        self._client.remove_listener(self._state_changed)
        for future in list(self._waiting):
            self._fail(future, "the connection was given up")

    def _stop_client(self, ended: asyncio.Event | None) -> None:
        """kazoo joins its thread when it stops, and waits up to 10 s for it: not in the loop."""
        def stop() -> None:
            try:
                self._client.stop()
                self._client.close()
            except (KazooException, OSError) as error:
                log.warning("a ZooKeeper client did not stop: %s", error)
            if ended is not None:
                self._handler.completion_queue.put(ended.set)
        threading.Thread(target=stop, name="zookeeper-stop", daemon=True).start()

    def _state_changed(self, state: Any) -> None:
        """Runs in kazoo's thread."""
        self._handler.completion_queue.put(
            functools.partial(self._tell, state == KazooState.CONNECTED))

    def _tell(self, connected: bool) -> None:
        if not self._over:
            self._changed(self, connected)

    def _not_let_in(self, server: str, why: str) -> None:
        if not self._over:
            self._failed(self, server, why)

    def _late(self, future: "asyncio.Future[Any]", sent: float) -> None:
        self._fail(future, f"no answer in {self._deadline_s:g} s")
        if self._heard < sent and not self._over:
            self._stalled(self)

    def _fail(self, future: "asyncio.Future[Any]", why: str) -> None:
        self._waiting.pop(future).cancel()
        if not future.done():
            future.set_exception(NotAnswered(why))

    def _answered(self, future: "asyncio.Future[Any]", result: Any) -> None:
        self._in_flight -= 1
        error = result.exception
        lost = isinstance(error, _LOST)
        if not lost and not isinstance(error, NotSent):
            self._heard = self._loop.time()
        timer = self._waiting.pop(future, None)
        if timer is not None:
            timer.cancel()
        if timer is None or future.done():
            return
        if lost:
            future.set_exception(NotAnswered(str(error) or type(error).__name__))
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result.value)
