"""Asks the network who answers for an address: the third truth of `hamgr status`.

Needs the standard library alone, since a command that people wait for must not import scapy or
pyroute2 for one question; run in whatever network namespace the answer is wanted for.
"""

import ipaddress
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

from hamgr.adapters.net.voices import hear_arp

ASKED = 2
"""How often within the time allowed: a frame may be lost."""
_ETH_P_ARP = 0x0806
_ICMP6_FILTER = 1
_SOLICITATION, _ADVERTISEMENT = 135, 136
_MAC_OPTION, _SOURCE_LINK_ADDRESS = b"\x02\x01", b"\x01\x01"
_Hear = Callable[[bytes], bytes | None]


def wire_owners(address: str, interface: str, within_s: float = 0.2) -> Iterator[str]:
    """Yield the MAC of every other machine that answers for an address, as they answer.

    This node's own kernel is not asked. Needs CAP_NET_RAW. Raises OSError, ValueError.
    """
    target = ipaddress.ip_address(address)
    with _packet_socket(interface) as arp:
        mac: bytes = arp.getsockname()[4]
        if target.version == 4:
            question = _arp_question(mac, target.packed)
            answers = _ask(arp, lambda: arp.send(question), _arp_answer(target.packed), within_s)
        else:
            answers = _ask_neighbours(target.packed, interface, mac, within_s)
        seen = {mac}
        for answer in answers:
            if answer not in seen:
                seen.add(answer)
                yield answer.hex(":")


def _packet_socket(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        opened.bind((interface, _ETH_P_ARP))
    except OSError:
        opened.close()
        raise
    return opened


def _arp_question(mac: bytes, target: bytes) -> bytes:
    # An ARP probe (RFC 5227): it comes from no address, so nobody's cache learns from it.
    return (b"\xff" * 6 + mac + struct.pack(">HHHBBH", _ETH_P_ARP, 1, 0x0800, 6, 4, 1)
            + mac + bytes(4) + bytes(6) + target)


def _arp_answer(target: bytes) -> _Hear:
    def hear(frame: bytes) -> bytes | None:
        voice = hear_arp(frame)
        return voice.mac if voice is not None and voice.packed == target else None
    return hear


def _ask_neighbours(target: bytes, interface: str, mac: bytes, within_s: float) -> Iterator[bytes]:
    """Solicit a neighbour (RFC 4861); the kernel adds addresses and checksum."""
    group = socket.inet_ntop(socket.AF_INET6, bytes.fromhex("ff0200000000000000000001ff")
                             + target[-3:])
    to = (group, 0, 0, socket.if_nametoindex(interface))
    question = struct.pack(">BBHI", _SOLICITATION, 0, 0, 0) + target + _SOURCE_LINK_ADDRESS + mac
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as opened:
        passes = 0xFFFFFFFF & ~(1 << _ADVERTISEMENT % 32)
        words = [passes if word == _ADVERTISEMENT // 32 else 0xFFFFFFFF for word in range(8)]
        opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        # Receivers drop what may have come through a router (RFC 4861, section 7.1.1).
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        yield from _ask(opened, lambda: opened.sendto(question, to), _advertised(target), within_s)


def _advertised(target: bytes) -> _Hear:
    def hear(message: bytes) -> bytes | None:
        told = message[8:24] == target and message[24:26] == _MAC_OPTION
        return message[26:32] if told else None
    return hear


def _ask(opened: socket.socket, send: Callable[[], object], hear: _Hear,
         within_s: float) -> Iterator[bytes]:
    """Send at even intervals, yield what is heard until the time is over."""
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    begin = time.monotonic()
    for attempt in range(1, ASKED + 1):
        send()
        until = begin + within_s * attempt / ASKED
        while (left := until - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                heard = hear(opened.recv(2048))
                if heard is not None:
                    yield heard
