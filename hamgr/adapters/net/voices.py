"""Who speaks as the owner of an address: read from the raw bytes of Ethernet frames."""

from typing import NamedTuple

_ARP_SENDER_MAC, _ARP_SENDER = slice(22, 28), slice(28, 32)
_NA_TARGET, _NA_OPTION, _NA_MAC = slice(62, 78), slice(78, 80), slice(80, 86)
_SOURCE_MAC = slice(6, 12)
_TARGET_LINK_ADDRESS = b"\x02\x01"


class Voice(NamedTuple):
    """A frame in which somebody speaks as the owner of an address."""

    packed: bytes
    mac: bytes


def hear_arp(frame: bytes) -> Voice | None:
    """Read an Ethernet frame with ARP in it; None if it is too short."""
    return Voice(frame[_ARP_SENDER], frame[_ARP_SENDER_MAC]) if len(frame) >= 42 else None


def hear_advertisement(frame: bytes) -> Voice | None:
    """Read an Ethernet frame with a neighbour advertisement in it; None if it is too short."""
    if len(frame) < 78:
        return None
    told = len(frame) >= 86 and frame[_NA_OPTION] == _TARGET_LINK_ADDRESS
    return Voice(frame[_NA_TARGET], frame[_NA_MAC if told else _SOURCE_MAC])
