"""Checks how a fence device is configured against the metadata of its agent. Pure."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from hamgr.adapters.fence.device import Device
from hamgr.adapters.fence.metadata import Metadata

_OURS = ("action", "nodename", "plug", "port")
"""What hamgr says itself; a device with one plug is told none, whatever its agent requires."""
_COMMON = ("delay",)
"""Read by the library of the agents, and in no use here: see the key delay."""


class Misfit(NamedTuple):
    """What does not fit, and the remedy."""

    key: str
    """Of the device's table: "options.ip"."""
    text: str
    severe: bool = True
    """The device cannot work like this."""


def check(device: Device, metadata: Metadata) -> tuple[Misfit, ...]:
    """Return everything that does not fit."""
    return (*_unknown(device, metadata), *_missing(device, metadata),
            *_chosen(device, metadata), *_plugs(device, metadata), *_odd(device, metadata))


def _unknown(device: Device, metadata: Metadata) -> Iterator[Misfit]:
    known = [option.name for option in metadata.options]
    for table, names in (("options", device.options), ("secrets", device.secrets)):
        for name in names:
            if name not in known:
                close = get_close_matches(name, known, 1)
                remedy = f"did you mean {close[0]}?" if close else (
                    f"`{device.agent} --help` says what it takes")
                yield Misfit(f"{table}.{name}", f"{device.agent} has no such option: {remedy}")


def _missing(device: Device, metadata: Metadata) -> Iterator[Misfit]:
    """An option counts as given under its older name too."""
    given = {*device.options, *device.secrets}
    for option in metadata.options:
        if (option.required and not option.deprecated and not option.default
                and option.name not in _OURS and not given & {option.name, option.obsoletes}):
            about = f" ({option.about})" if option.about else ""
            yield Misfit(f"options.{option.name}",
                         f"{device.agent} needs this option{about}: add it")


def _chosen(device: Device, metadata: Metadata) -> Iterator[Misfit]:
    for name, value in device.options.items():
        option = metadata.option(name)
        if option is not None and option.choices and value not in option.choices:
            yield Misfit(f"options.{name}",
                         f"{value!r} is not one of {', '.join(option.choices)}")


def _plugs(device: Device, metadata: Metadata) -> Iterator[Misfit]:
    option = metadata.option("plug") or metadata.option("port")
    bare = [node for node, plug in device.plugs.items() if not plug]
    if option is None and any(device.plugs.values()):
        yield Misfit("nodes", f"{device.agent} knows no plugs: write nodes as a list, with the "
                     "one node that this device can cut off")
    if option is not None and option.required and bare:
        yield Misfit("nodes", f"{device.agent} has to be told the plug of {', '.join(bare)}: write "
                     f'nodes = {{ {bare[0]} = "3" }}, as the device calls it')


def _odd(device: Device, metadata: Metadata) -> Iterator[Misfit]:
    for name in _COMMON:
        if name in device.options:
            yield Misfit(f"options.{name}", "would count in the timeout of each action; write it "
                         "as a key of the table instead", severe=False)
    missing = [action for action in ("off", "on") if action not in metadata.actions]
    if missing:
        yield Misfit("agent", f"{device.agent} has no action {' and '.join(missing)}",
                     severe="off" in missing)
