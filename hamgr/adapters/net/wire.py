"""One interface's Ethernet: packet sockets (packet(7)) that are open before they are needed.

Theory. Opening a packet socket takes about 14 ms, sending on one 3 us. A socket bound to ETH_P_ARP
sees incoming ARP alone, never our own frames. In the kernel a classic BPF program drops whatever
does not speak as the owner of one of our addresses, so a busy network wakes nobody here.
"""

import asyncio
import ctypes
import errno
import logging
import socket
import struct
from collections.abc import Callable, Sequence

from hamgr.adapters.net.vip import Nic
from hamgr.adapters.net.voices import Voice, hear_advertisement, hear_arp

logger = logging.getLogger(__name__)

ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD
_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_BYTE, _IF_EQUAL, _RETURN = 0x20, 0x30, 0x15, 0x06
_AT_ONCE = 64
_Hear = Callable[[bytes], Voice | None]


class Wire:
    """Sends prepared frames, and hears who else speaks as the owner of our addresses."""

    def __init__(self, nic: Nic, addresses: Sequence[bytes],
                 heard: Callable[[Voice], None]) -> None:
        """Open the sockets. Raises OSError."""
        self.nic, self.addresses = nic, frozenset(addresses)
        self._heard, self._loop = heard, asyncio.get_running_loop()
        self._sockets: dict[int, socket.socket] = {}
        four = [address for address in addresses if len(address) == 4]
        six = [address for address in addresses if len(address) == 16]
        if four:
            self._listen(ETH_P_ARP, arp_filter(four), hear_arp)
        if six:
            self._listen(ETH_P_IPV6, advertisement_filter(six), hear_advertisement)

    def send(self, frame: bytes) -> None:
        """Send a frame. What a link that is down refuses is lost; once up, it is announced anew."""
        try:
            self._sockets[int.from_bytes(frame[12:14])].send(frame)
        except OSError as error:
            logger.debug("nothing goes out on %s: %s", self.nic.name, error)

    def close(self) -> None:
        """Close the sockets."""
        for opened in self._sockets.values():
            self._loop.remove_reader(opened)
            opened.close()

    def _listen(self, protocol: int, program: bytes, hear: _Hear) -> None:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._sockets[protocol] = opened
        try:
            _attach(opened, program)
            opened.bind((self.nic.name, protocol))
        except OSError:
            self.close()
            raise
        self._loop.add_reader(opened, self._read, opened, hear)

    def _read(self, opened: socket.socket, hear: _Hear) -> None:
        for _ in range(_AT_ONCE):
            try:
                frame = opened.recv(2048)
            except BlockingIOError:
                return
            except OSError as error:
                # The interface went down or away; the monitor tells what is to be done.
                if error.errno != errno.ENETDOWN:
                    raise
                return
            voice = hear(frame)
            if voice is not None and voice.packed in self.addresses:
                self._heard(voice)


def arp_filter(addresses: Sequence[bytes]) -> bytes:
    """Return the BPF program that lets ARP pass whose sender address is one of these."""
    return _code(_LOAD_WORD, 28) + _any_of(addresses)


def advertisement_filter(addresses: Sequence[bytes]) -> bytes:
    """Return the BPF program that lets advertisements pass for, nearly, one of these.

    Their last 32 bits are compared here, the whole address by who reads the frame.
    """
    drop = _code(_RETURN, 0)
    return (_code(_LOAD_BYTE, 20) + _code(_IF_EQUAL, socket.IPPROTO_ICMPV6, 1, 0) + drop
            + _code(_LOAD_BYTE, 54) + _code(_IF_EQUAL, 136, 1, 0) + drop
            + _code(_LOAD_WORD, 74) + _any_of([address[-4:] for address in addresses]))


def _any_of(words: Sequence[bytes]) -> bytes:
    passes = b"".join(_code(_IF_EQUAL, int.from_bytes(word), 0, 1) + _code(_RETURN, 0xFFFF)
                      for word in words)
    return passes + _code(_RETURN, 0)


def _code(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, if_true, if_false, value)


def _attach(opened: socket.socket, program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many instructions of 8 bytes, and where they are.
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER,
                      struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)))
