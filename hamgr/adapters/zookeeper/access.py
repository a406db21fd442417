"""How a client shows itself to ZooKeeper's servers, what it demands of them, and who may write."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kazoo.exceptions import AuthFailedError, SASLException, SessionClosedRequireSaslError
from kazoo.security import ACL, make_acl

REFUSALS = (AuthFailedError, SASLException, SessionClosedRequireSaslError)
"""What kazoo raises when a server does not take us for who we say we are."""


CLOSED = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
"""What a connection raises that the other side has closed, TLS or not."""


class HandshakeError(Exception):
    """No TLS came about; the cause says why. No OSError, of which kazoo keeps the bare words."""


class AccessError(Exception):
    """A file of ours cannot be used; the message names it, the fault and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What the configuration says of it.

    The functions read files, each time anew: what is renewed there is used from the next connection
    on. They run in kazoo's thread, and raise AccessError.
    """

    tls: Callable[[], ssl.SSLContext] | None = None
    """Gives what servers are verified by and this node's certificate; None: no TLS."""
    user: str = ""
    """For SASL (DIGEST-MD5); empty: none."""
    password: Callable[[], str] = str
    protect: bool = False
    """Everything that is made can be written by the user alone."""

    def acl(self) -> list[ACL] | None:
        """Return the access list of the cluster's records; None: they are anybody's."""
        if not self.protect:
            return None
        return [make_acl("sasl", self.user, all=True), make_acl("world", "anyone", read=True)]

    def sasl(self) -> dict[str, Any] | None:
        """Return kazoo's options for SASL. Raises AccessError without a password."""
        if not self.user:
            return None
        return {"mechanism": "DIGEST-MD5", "username": self.user, "password": self.password()}

    def check(self) -> None:
        """Read all files once. Raises AccessError if one of them cannot be used."""
        self.sasl()
        if self.tls is not None:
            self.tls()


OPEN = Access()
"""As ZooKeeper is without configuration: anybody may come, and write."""


def in_words(error: BaseException, access: Access) -> str:
    """Return what a server, or a file of ours, refuses and what to do; empty if it is no refusal.

    It is said of the server, except where a file is at fault.
    """
    cause = error.__cause__ or error.__context__
    match error:
        case HandshakeError():
            return tls_in_words(cause)
        case SessionClosedRequireSaslError() if not access.user:
            return "lets nobody in without SASL: set user and password_file in [zookeeper]"
        case SASLException():
            return "has no users for SASL: it must be started with a JAAS file (docs/zookeeper.md)"
        case AuthFailedError() | SessionClosedRequireSaslError():
            return (f"does not let user {access.user} in: password_file must hold the password "
                    "that the server has for this user")
        case AccessError():
            return str(error)
        case _ if cause is None or isinstance(cause, CLOSED):
            wants = "does not accept cert_file" if access.tls else "wants TLS (ca_file)"
            return f"closes the connection before it answers: it has no quorum, or {wants}"
        case _ if isinstance(cause, ssl.SSLError):
            return tls_in_words(cause)
    return ""


def tls_in_words(error: BaseException | None) -> str:
    """Tell whose certificate it is that the other side does not accept."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (f"shows a certificate that does not hold ({error.verify_message}): ca_file must "
                "have its signer, and it must name the server as the configuration does")
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        alert = str(error.reason).partition("ALERT_")[2].replace("_", " ").lower()
        return (f"does not accept this node's certificate ({alert}): cert_file must be valid, and "
                "signed by whom the server trusts")
    return f"does not speak TLS ({error}): its secureClientPort must be in the configuration"
