"""kazoo's connection, that counts as one only when the server has let us in.

kazoo says CONNECTED before it logs in, and a server that wants a login may say so at the first
request only; both would be told as an ensemble that comes and goes. kazoo ends for good at the
first server that refuses a login, and dies of errors it does not expect, where the next server may
have the right password already. And it says why to its log alone.
"""

from collections.abc import Callable
from typing import Any

from kazoo.exceptions import ConnectionDropped, SASLException
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import SASL, Exists

from hamgr.adapters.zookeeper.access import (
    REFUSALS,
    Access,
    AccessError,
    HandshakeError,
    in_words,
)

_SASL_STEPS = 3
"""Of a login by DIGEST-MD5 (RFC 2831, section 2.1). A server without users answers each with
nothing, and kazoo would go on with it for ever."""


class TamedConnection(ConnectionHandler):  # type: ignore[misc]  # kazoo has no types
    """Goes from server to server until one lets us in; runs in kazoo's thread."""

    def __init__(self, client: Any, access: Access, failed: Callable[[str, str], None],
                 **options: Any) -> None:
        """`failed` is told which server did not let us in, and why; empty: it does not answer.

        In kazoo's thread, and once an attempt.
        """
        super().__init__(client, **options)
        self._access = access
        self._failed = failed

    def _connect(self, host: str, hostip: str, port: int) -> Any:
        """Connect and log in. Raises ConnectionDropped, upon which the next server is tried.

        kazoo raises RuntimeError for an answer to another request than the one before.
        """
        server = f"{f'[{host}]' if ':' in host else host}:{port}"
        try:
            self.sasl_options = self._access.sasl()
            with self.client.unannounced():
                timeouts = super()._connect(host, hostip, port)
                self._invoke(timeouts[1] / 1000, Exists("/", None), xid=1)  # milliseconds
                return timeouts
        except (ConnectionDropped, HandshakeError, AccessError, RuntimeError, *REFUSALS) as error:
            why = in_words(error, self._access)
            if why and not isinstance(error, AccessError):
                why = f"{server} {why}"
            self._failed(server, why)
            raise ConnectionDropped(why or str(error)) from error
        except self.handler.timeout_exception:
            self._failed(server, "")
            raise

    def _submit(self, request: Any, timeout: float, xid: int | None = None) -> Any:
        if isinstance(request, SASL) and xid is not None and xid > _SASL_STEPS:
            raise SASLException("the server offers nothing")
        return super()._submit(request, timeout, xid)
