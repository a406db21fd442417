"""The servers of the ensemble, asked by four-letter words, all at once; by TLS where it is used."""

import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from hamgr.config.private import KeyFileError
from hamgr.config.schema import Document, ZooKeeper
from hamgr.config.tls import client_context
from hamgr.config.values import Server as Address
from hamgr.doctor.facts import Ensemble, Server

WORDS = ("srvr", "mntr", "conf")
WITHIN_S = 2.0
ANSWER_MAX = 1 << 20
FORBIDDEN = b"is not executed because it is not in the whitelist"
NOT_SERVING = b"not currently serving requests"
"""Of the answer to every word but ruok, by a server that is in no majority."""


class _ClosedError(OSError):
    """TLS came about, and then the server closed the connection without an answer."""


def ensemble(document: Document) -> Ensemble:
    """Ask every server; none is waited for longer than a few seconds.

    Raises OSError if a file for TLS cannot be used.
    """
    addresses = document.cluster.zookeeper
    with ThreadPoolExecutor(len(addresses)) as threads:
        ask = partial(_server, _tls(document.zookeeper))
        return Ensemble(servers=tuple(threads.map(ask, addresses)))


def _tls(access: ZooKeeper) -> ssl.SSLContext | None:
    if access.ca_file is None:
        return None
    try:
        return client_context(access.ca_file, access.cert_file, access.key_file)
    except KeyFileError as error:
        raise OSError(str(error)) from error


def parsed(answer: str) -> dict[str, str]:
    """Return the lines of an answer by key: mntr has tabs, conf "=", srvr ": "."""
    found = {}
    for line in answer.splitlines():
        for separator in ("\t", "=", ": "):
            key, there, value = line.partition(separator)
            if there:
                found[key.strip()] = value.strip()
                break
    return found


def _server(tls: ssl.SSLContext | None, address: Address) -> Server:
    answers, forbidden, serves, took = {}, [], True, 0.0
    try:
        for word in WORDS:
            began = time.monotonic()
            answer = _ask(tls, address, word)
            took = took or (time.monotonic() - began) * 1000
            if FORBIDDEN in answer:
                forbidden.append(word)
            elif NOT_SERVING in answer:
                serves = False
            elif answer:
                answers[word] = parsed(answer.decode(errors="replace"))
    except _ClosedError:
        return Server(name=str(address), refusal="closes the connection before it answers: it does "
                      "not accept this node's certificate (cert_file), or is just ending")
    except ssl.SSLError as error:
        from hamgr.adapters.zookeeper import tls_in_words  # with kazoo, for this case alone

        return Server(name=str(address), refusal=tls_in_words(error))
    except OSError as error:
        return Server(name=str(address), fault=error.strerror or str(error))
    return Server(name=str(address), answer_ms=round(took, 1), answers=answers,
                  forbidden=tuple(forbidden), serves=serves)


def _ask(tls: ssl.SSLContext | None, address: Address, word: str) -> bytes:
    """Return what a server says to a word, nothing if it says nothing in time.

    Raises OSError if no connection can be had, and of them ssl.SSLError if it or we are not
    trusted, _ClosedError if that is likely.
    """
    answer, until = b"", time.monotonic() + 2 * WITHIN_S
    with ExitStack() as stack:
        sock = stack.enter_context(
            socket.create_connection((address.host, address.port), timeout=WITHIN_S))
        if tls is not None:
            sock = stack.enter_context(tls.wrap_socket(sock, server_hostname=address.host))
        try:
            sock.sendall(word.encode())
            while (len(answer) < ANSWER_MAX and time.monotonic() < until
                   and (chunk := sock.recv(65536))):
                answer += chunk
        except TimeoutError:
            return answer  # it was there, and said no more
        except OSError as error:
            if tls is None or answer:
                return answer
            # With TLS 1.3 a certificate of ours is refused only now, or the connection just ended.
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                raise
            raise _ClosedError from error
    return answer
