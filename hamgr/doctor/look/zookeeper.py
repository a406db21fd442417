"""The servers of the ensemble, asked by four-letter words, all at once."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hamgr.config.values import Server as Address
from hamgr.doctor.facts import Ensemble, Server

WORDS = ("srvr", "mntr", "conf")
WITHIN_S = 2.0
ANSWER_MAX = 1 << 20
FORBIDDEN = b"is not executed because it is not in the whitelist"


def ensemble(addresses: Sequence[Address]) -> Ensemble:
    """Ask every server; none is waited for longer than a few seconds."""
    with ThreadPoolExecutor(len(addresses)) as threads:
        return Ensemble(servers=tuple(threads.map(_server, addresses)))


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


def _server(address: Address) -> Server:
    answers, forbidden, took = {}, [], 0.0
    try:
        for word in WORDS:
            began = time.monotonic()
            answer = _ask(address, word)
            took = took or (time.monotonic() - began) * 1000
            if FORBIDDEN in answer:
                forbidden.append(word)
            elif answer:
                answers[word] = parsed(answer.decode(errors="replace"))
    except OSError as error:
        return Server(name=str(address), fault=error.strerror or str(error))
    return Server(name=str(address), answer_ms=round(took, 1), answers=answers,
                  forbidden=tuple(forbidden))


def _ask(address: Address, word: str) -> bytes:
    """Return what a server says to a word, nothing if it says nothing in time.

    Raises OSError if no connection can be had.
    """
    answer = b""
    with socket.create_connection((address.host, address.port), timeout=WITHIN_S) as sock:
        try:
            sock.sendall(word.encode())
            while len(answer) < ANSWER_MAX and (chunk := sock.recv(65536)):
                answer += chunk
        except OSError:
            return answer  # it was there, and said no more
    return answer
