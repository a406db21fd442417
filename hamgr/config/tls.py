"""The files for TLS with ZooKeeper: who signs the servers' certificates, and this node's own."""

import re
import ssl
from datetime import UTC, datetime

from hamgr.config.private import KeyFileError, located, read_private

KEY_REMEDY = ("openssl makes one without a passphrase (openssl genpkey -algorithm EC -pkeyopt "
              "ec_paramgen_curve:P-256), readable by root only")
_PEM = "write a certificate in PEM form (-----BEGIN CERTIFICATE-----)"
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xa0, 0x17


def client_context(ca_file: str, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """Return what connections are made with: servers are verified by ca_file alone, name included.

    Revocation is not checked. Raises KeyFileError.
    """
    context = trusting(ca_file)
    if cert_file is not None and key_file is not None:
        present(context, cert_file, key_file)
    return context


def bare_context() -> ssl.SSLContext:
    """Return a context for a client that trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def trusting(ca_file: str) -> ssl.SSLContext:
    """Return a context that trusts whom this file names, and nobody else. Raises KeyFileError."""
    context = bare_context()
    try:
        context.load_verify_locations(located(ca_file))
    except ssl.SSLError:
        raise KeyFileError(f"{ca_file}: holds no certificate; {_PEM}") from None
    except OSError as error:
        raise KeyFileError(f"{ca_file}: cannot be read: {error.strerror}; copy the certificate of "
                           "whoever signs the servers' to every node") from None
    return context


def present(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Have a context show this node's certificate. Raises KeyFileError."""
    expiries(cert_file)
    read_private(key_file, KEY_REMEDY)
    try:
        # A passphrase would be asked for at the terminal; an empty one fits no key that has one.
        context.load_cert_chain(located(cert_file), located(key_file), password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise KeyFileError(f"{key_file}: is not the key of the certificate in {cert_file}; "
                               "name the two that were made together") from None
        raise KeyFileError(f"{key_file}: holds no key that can be read without a passphrase; "
                           f"{KEY_REMEDY}") from None


def expiries(cert_file: str) -> list[datetime]:
    """Return until when each certificate of a file is valid: one at least. Raises KeyFileError."""
    try:
        found = _CERTIFICATE.findall(located(cert_file).read_text("ascii"))
        if not found:
            raise ValueError("no certificate")
        return [_not_after(ssl.PEM_cert_to_DER_cert(one)) for one in found]
    except OSError as error:
        raise KeyFileError(f"{cert_file}: cannot be read: {error.strerror}; copy a certificate "
                           "that the servers accept to this node") from None
    except (ValueError, IndexError):
        raise KeyFileError(f"{cert_file}: holds no certificate; {_PEM}") from None


def _not_after(der: bytes) -> datetime:
    """Find the second time of `validity` (RFC 5280, section 4.1). Raises ValueError, IndexError.

    The standard library shows that of a peer that it has verified only.
    """
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    tag, _, after = _element(rest)
    if tag == _VERSION:
        rest = after
    for _ in ("serial number", "algorithm", "issuer"):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("no validity where it belongs")
    _, _, after = _element(validity)
    tag, when, _ = _element(after)
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(when.decode("ascii"), form).replace(tzinfo=UTC)


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Return tag and content of the first element, and what follows it."""
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7f
        length = int.from_bytes(der[2:start])
    return der[0], der[start:start + length], der[start + length:]
