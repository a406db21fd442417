"""What a virtual address is, and where on this node it belongs."""

import ipaddress
import socket
from functools import cached_property

from msgspec import Struct


class Vip(Struct, frozen=True, dict=True):
    """One virtual address of a group."""

    address: str
    prefix: int
    """Length of the prefix of the client's subnet."""
    interface: str | None = None
    """None: the interface that has an address of its own in the same subnet."""

    @cached_property
    def packed(self) -> bytes:
        """The address in network byte order, 4 or 16 bytes: what is compared, never the text."""
        return ipaddress.ip_address(self.address).packed

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6

    @property
    def subnet(self) -> str:
        """The client's subnet, for messages to people."""
        return str(ipaddress.ip_network(f"{self.address}/{self.prefix}", strict=False))

    def shares_subnet(self, packed: bytes, prefix: int) -> bool:
        """Return whether an interface with this address and prefix reaches the VIP directly."""
        if len(packed) != len(self.packed):
            return False
        shift = 8 * len(packed) - prefix
        return int.from_bytes(packed) >> shift == int.from_bytes(self.packed) >> shift


class Nic(Struct, frozen=True):
    """One network interface, as the kernel describes it."""

    index: int
    name: str
    mac: bytes
    """Empty when it has none."""
    ethernet: bool
    """It speaks ARP or NDP over Ethernet frames: there is a wire to announce on."""
    fault: str = ""
    """Why nothing can reach the node through it: down, no carrier; empty when all is well."""


class Place(Struct, frozen=True):
    """Where a VIP goes on this node."""

    nic: Nic
    prefix: int
    """The prefix length that it is added with."""
    covered: bool
    """The interface has an address of its own in the VIP's subnet, hence the route to it."""
