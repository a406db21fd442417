"""All attributes of one node, or of the cluster, as one record in ZooKeeper. Pure.

    {"format": 1, "boot": "…", "forever": {"name": "value"}, "reboot": {"name": "value"}}

`boot` is the boot of the node's machine to which the values under `reboot` belong; empty when other
nodes set them, and the node itself has not looked yet. Fields of other versions are kept.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from hamgr.adapters.services.ocf.attributes import AttributeRefused, Lifetime

FORMAT = 1
NAME_BYTES_MAX = 255
VALUE_BYTES_MAX = 4 << 10
NAMES_MAX = 1000
"""Of a node, both lifetimes together."""
RECORD_BYTES_MAX = 256 << 10
"""Of a record: a quarter of what ZooKeeper takes at most (jute.maxbuffer, 1 MiB), since two nodes
may each add as much while they cannot reach it."""

Change = Mapping[tuple[Lifetime, str], str | None]
"""New values by lifetime and name; None: it is deleted."""


class Values(Struct, frozen=True, kw_only=True):
    """What is set; an instance is never changed."""

    forever: Mapping[str, str] = field(default_factory=dict)
    reboot: Mapping[str, str] = field(default_factory=dict)
    boot: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def of(self, lifetime: Lifetime) -> Mapping[str, str]:
        """Return the values of one lifetime by name."""
        return self.forever if lifetime is Lifetime.FOREVER else self.reboot

    def __bool__(self) -> bool:
        """Whether there is any value."""
        return bool(self.forever or self.reboot)


EMPTY = Values()


def changed(values: Values, change: Change) -> Values:
    """Return the values with this changed; the same instance if that changes nothing."""
    after = {lifetime: dict(values.of(lifetime)) for lifetime in Lifetime}
    for (lifetime, name), value in change.items():
        if value is None:
            after[lifetime].pop(name, None)
        else:
            after[lifetime][name] = value
    forever, reboot = after[Lifetime.FOREVER], after[Lifetime.REBOOT]
    if forever == values.forever and reboot == values.reboot:
        return values
    return replace(values, forever=forever, reboot=reboot)


def everything(values: Values) -> dict[tuple[Lifetime, str], str | None]:
    """Return what makes these values of none."""
    return {(lifetime, name): value for lifetime in Lifetime
            for name, value in values.of(lifetime).items()}


def check(name: str, value: str | None, values: Values) -> None:
    """Raise AttributeRefused where these values, with this one in it, are too much."""
    if not name or len(name.encode()) > NAME_BYTES_MAX:
        raise AttributeRefused(f"the name of an attribute has 1 to {NAME_BYTES_MAX} bytes")
    if value is None:
        return
    if len(value.encode()) > VALUE_BYTES_MAX:
        raise AttributeRefused(f"the value of an attribute has at most {VALUE_BYTES_MAX} bytes")
    if len(values.forever) + len(values.reboot) > NAMES_MAX:
        raise AttributeRefused(f"a node has at most {NAMES_MAX} attributes")
    if len(encoded(values)) > RECORD_BYTES_MAX:
        raise AttributeRefused("the attributes of a node take at most "
                               f"{RECORD_BYTES_MAX >> 10} KiB in all")


def encoded(values: Values) -> bytes:
    """Return the record."""
    return msgspec.json.encode({
        **values.extra, "format": FORMAT, "boot": values.boot,
        "forever": dict(sorted(values.forever.items())),
        "reboot": dict(sorted(values.reboot.items()))})


def decoded(data: bytes) -> Values:
    """Return what a record says. Raises msgspec.MsgspecError if it is none, or a newer one."""
    try:
        raw = msgspec.json.decode(data, type=dict[str, Any])
    except (RecursionError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(str(error)) from error
    if raw.pop("format", FORMAT) != FORMAT:
        raise msgspec.ValidationError("another version of hamgr wrote it")
    known: dict[str, Any] = {key: raw.pop(key) for key in ("forever", "reboot", "boot")
                             if key in raw}
    return msgspec.convert({**known, "extra": raw}, type=Values)
