"""The values that have a form of their own in the file: durations, commands, addresses, servers."""

import re
import shlex
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)

from msgspec import Struct

from hamgr.core.types import MICROSECOND, MILLISECOND, SECOND

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
"""An address with the length of its prefix."""

ZOOKEEPER_PORT = 2181
LINK_NAME_MAX = 15
"""Linux: IFNAMSIZ (16) less the terminating zero."""

_UNITS = {"us": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_DAY = 24 * _UNITS["h"]
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
"""RFC 1123, section 2.1; what is longer, or has an empty label, no resolver takes."""
_SHELL = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1"}


class Span(int):
    """A duration in nanoseconds, written with its unit: "100ms", "2s", "1m"."""

    UNITS = _UNITS
    LONGEST = _DAY
    TOO_LONG = "a day"

    @classmethod
    def parse(cls, value: object) -> "Span":
        """Read a duration. Raises ValueError, with the remedy, if it is none."""
        if not isinstance(value, str):
            raise ValueError(f'{value!r} has no unit; write a duration such as "100ms" or "2s"')
        match = _SPAN.fullmatch(value.strip())
        if match is None or match[2] not in cls.UNITS:
            raise ValueError(f'"{value}" is not a duration; write a number and a unit '
                             f'({", ".join(cls.UNITS)}), such as "100ms" or "2s"')
        nanoseconds = Decimal(match[1]) * cls.UNITS[match[2]]
        if nanoseconds > cls.LONGEST:
            raise ValueError(f'"{value}" is longer than {cls.TOO_LONG}; give a shorter duration')
        return cls(nanoseconds)

    def __str__(self) -> str:
        """Return it in the largest unit that keeps it a whole number, or else in milliseconds."""
        whole = [name for name, size in self.UNITS.items() if self % size == 0 and self >= size]
        if not self or whole and (whole[-1] != "us" or self < MILLISECOND):
            unit = whole[-1] if self else "s"
            return f"{int(self) // self.UNITS[unit]}{unit}"
        return f"{Decimal(int(self)) / MILLISECOND:f}ms"


class LongSpan(Span):
    """A duration that may be one of days: "30d"."""

    UNITS = {**_UNITS, "d": _DAY}
    LONGEST = 366 * _DAY
    TOO_LONG = "a year"


class Plugs(dict[str, str]):
    """Nodes, with what each is called at a fence device; empty where there is nothing to say."""

    @classmethod
    def parse(cls, value: object) -> "Plugs":
        """Read a list of nodes, or a table of their plugs. Raises ValueError, with the remedy."""
        plugs = dict.fromkeys(value, "") if isinstance(value, list) and all(
            isinstance(name, str) for name in value) else value
        if not isinstance(plugs, dict) or not all(isinstance(plug, str)
                                                  for plug in plugs.values()):
            raise ValueError('must name nodes: write ["n1"], or a table with the plug of each at '
                             'the device, in quotes: { n1 = "3", n2 = "4" }')
        if any(not plug.isprintable() for plug in plugs.values()):
            raise ValueError("has a plug that is not one line of text; write it as the device "
                             "calls it")
        return cls(plugs)


class Command(tuple[str, ...]):
    """A program and its arguments, started without a shell."""

    @classmethod
    def parse(cls, value: object) -> "Command":
        """Read a command string or a list of arguments. Raises ValueError, with the remedy."""
        if isinstance(value, str):
            words = _split(value)
        elif isinstance(value, list) and all(isinstance(word, str) for word in value):
            words = value
        else:
            raise ValueError("must be a command string or a list of strings, such as "
                             '["/usr/local/lib/app/check", "--fast"]')
        if not words or not words[0]:
            raise ValueError("is empty; name a program by its full path")
        if not words[0].startswith("/"):
            raise ValueError(f'"{words[0]}" is not a full path; write one that begins with /, '
                             "since hooks run without a search path")
        if any("\0" in word for word in words):
            raise ValueError("contains a zero byte, which no program can be given; remove it")
        return cls(words)


class Server(Struct, frozen=True):
    """Where one ZooKeeper server listens for clients."""

    host: str
    port: int = ZOOKEEPER_PORT

    @classmethod
    def parse(cls, value: object) -> "Server":
        """Read "host:port", "host" or "[IPv6]:port". Raises ValueError, with the remedy."""
        if not isinstance(value, str):
            raise ValueError(f'{value!r} is not a server; write it as "host:port"')
        bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", value)
        host, port = bracketed.groups() if bracketed else _host_and_port(value)
        number = ZOOKEEPER_PORT if port is None else _port(value, port)
        if not _is_address(host) and (bracketed or not _HOST.fullmatch(host)):
            raise ValueError(f'"{value}" does not name a server; write it as "10.0.0.11:2181", '
                             '"zk1.example.com:2181" or "[2001:db8::11]:2181"')
        return cls(host=host, port=number)

    def __str__(self) -> str:
        """Return it as kazoo and ZooKeeper's own tools take it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: object) -> Address:
    """Read a node's address on a ring. Raises ValueError, with the remedy."""
    try:
        address = ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{_quoted(value)} is not an IP address; write one without a prefix "
                         'length, such as "10.0.0.11" (names are not looked up: a failover must '
                         "not wait for DNS)") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f'"{address}" is an IPv4 address in the form of IPv6; write '
                         f'"{address.ipv4_mapped}"')
    if address.is_multicast or _names_no_host(address):
        raise ValueError(f'"{address}" is not the address of one machine; write the address that '
                         "this node has on the ring")
    if address.is_link_local and address.version == 6:
        raise ValueError(f'"{address}" is a link-local address, which names no node without an '
                         "interface; use a global or unique local one")
    return address


def parse_interface(value: object) -> Interface:
    """Read a VIP with its prefix length. Raises ValueError, with the remedy."""
    text = value if isinstance(value, str) else ""
    try:
        address = ip_interface(text)
    except ValueError:
        raise ValueError(f"{_quoted(value)} is not an address with a prefix length; write it as "
                         '"10.0.0.100/24" or "2001:db8::100/64"') from None
    if "/" not in text:
        raise ValueError(f'"{value}" lacks the length of its prefix; write "{value}/24", or '
                         "whatever the subnet has")
    if isinstance(address, IPv6Interface) and address.scope_id:
        unscoped = text.replace(f"%{address.scope_id}", "")
        raise ValueError(f'"{value}" names an interface in the address; write it as '
                         f'{{ address = "{unscoped}", interface = "{address.scope_id}" }}')
    if address.ip.is_multicast or address.ip.is_loopback or _names_no_host(address.ip):
        raise ValueError(f'"{value}" cannot move between machines; write a unicast address')
    if address.network.prefixlen == 0:
        raise ValueError(f'"{value}" has every address there is in its subnet; write "{address.ip}'
                         f'/{24 if address.version == 4 else 64}", or whatever the subnet has')
    return address


def parse_link(value: object) -> str:
    """Read the name of a network interface. Raises ValueError, with the remedy."""
    name = value if isinstance(value, str) else ""
    if not 1 <= len(name) <= LINK_NAME_MAX or re.search(r"[\s/:]", name) or name in (".", ".."):
        raise ValueError(f"{_quoted(value)} is not the name of an interface; write one as "
                         '`ip link` shows it, such as "eth0"')
    return name


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError(f"has a quote that is not closed: {text}; close it, or write the "
                         "command as a list of strings") from None
    if _SHELL.intersection(words):
        raise ValueError(f"needs a shell, and hooks run without one: {text}; put it into a "
                         'script, or write ["/bin/sh", "-c", "..."]')
    return words


def _host_and_port(text: str) -> tuple[str, str | None]:
    if _is_address(text):
        return text, None
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else (text, None)


def _port(text: str, port: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f'"{text}" has no port between 1 and 65535; ZooKeeper listens on '
                         f"{ZOOKEEPER_PORT} unless told otherwise")
    return int(port)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _names_no_host(address: Address) -> bool:
    """RFC 1122, section 3.2.1.3, and RFC 1112, section 4: "this" network, class E, broadcast."""
    return address.is_unspecified or address.version == 4 and (
        address.packed[0] == 0 or address.packed[0] >= 240)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
