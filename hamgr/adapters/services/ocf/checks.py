"""Checks a service's parameters and timeouts against the meta-data of its agent. Pure."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from hamgr.adapters.services.ocf.agent import Agent
from hamgr.adapters.services.ocf.metadata import Metadata, Parameter
from hamgr.core.types import SECOND, Duration

_BOOLEAN = frozenset({"yes", "true", "1", "ja", "on", "no", "false", "0", "off"})
"""What ocf_is_true of ocf-shellfuncs knows, and its opposites, in small letters."""
_INTEGER = re.compile(r"[+-]?\d+")
_SECONDS = re.compile(r"\d+\s*(s|sec|ms|m|min|h)?", re.IGNORECASE)
_COMMON = frozenset({"trace_ra", "trace_dir", "trace_file", "OCF_CHECK_LEVEL"})
"""Read by ocf-shellfuncs on behalf of every agent, and in no meta-data."""


class Fault(NamedTuple):
    """What is wrong, or likely not meant, and the remedy."""

    key: str
    """Of the service's table: "parameters.configfile"."""
    text: str


class Checked(NamedTuple):
    """All that was found."""

    faults: tuple[Fault, ...]
    """The service cannot work like this."""
    warnings: tuple[Fault, ...]


def check(agent: Agent, metadata: Metadata, timeouts: Mapping[str, Duration]) -> Checked:
    """Check one service; `timeouts` by action, for those that are configured."""
    return Checked(
        (*_unknown(agent, metadata), *_missing(agent, metadata), *_mistyped(agent, metadata),
         *_roles(agent, metadata)),
        (*_deprecated(agent, metadata), *_hasty(agent, metadata, timeouts)))


def clashes(services: Mapping[str, tuple[Agent, Metadata]]) -> Iterator[Fault]:
    """Yield, of services by name, those that have all values of a unique group in common.

    Source: OCF resource agent API 1.1, `unique-group`: two services must differ in one of them.
    """
    taken: dict[tuple[object, ...], str] = {}
    for service, (agent, metadata) in services.items():
        for group in dict.fromkeys(one.unique_group for one in metadata.parameters):
            names = [one.name for one in metadata.parameters if group == one.unique_group]
            values = tuple((name, agent.parameters.get(name)) for name in names)
            if not group or all(value is None for _, value in values):
                continue
            other = taken.setdefault((agent.name, values), service)
            if other != service:
                yield Fault(f"{service}.{_key(names[0])}", f"{other} has the same "
                            f"{' and '.join(names)}: only one of them can run, change one")


def _key(name: str) -> str:
    return f"parameters.{name}"


def _unknown(agent: Agent, metadata: Metadata) -> Iterator[Fault]:
    known = [parameter.name for parameter in metadata.parameters]
    for name in agent.parameters:
        if name not in known and name not in _COMMON:
            close = get_close_matches(name, known, 1)
            remedy = (f"did you mean {close[0]}?" if close else
                      f"it takes {', '.join(sorted(known))}" if known else "it takes none")
            yield Fault(_key(name), f"{agent.name} has no such parameter: {remedy}")


def _missing(agent: Agent, metadata: Metadata) -> Iterator[Fault]:
    """A required one that has a default may be left out: agents fill it in (pgsql, nfsserver)."""
    for parameter in metadata.parameters:
        if (parameter.required and not parameter.default
                and not agent.parameters.get(parameter.name)):
            about = f" ({parameter.about})" if parameter.about else ""
            yield Fault(_key(parameter.name), f"{agent.name} needs this parameter{about}: add it")


def _mistyped(agent: Agent, metadata: Metadata) -> Iterator[Fault]:
    for name, value in agent.parameters.items():
        parameter = metadata.parameter(name)
        if parameter is not None and value and (wanted := _wanted(parameter, value)):
            yield Fault(_key(name), f"{value!r} is not {wanted}, which {agent.name} takes here")


def _wanted(parameter: Parameter, value: str) -> str:
    """Return what the value should be, in words; empty if it is that."""
    match parameter.type:
        case "integer" if not _INTEGER.fullmatch(value):
            return "a whole number"
        case "boolean" if value.lower() not in _BOOLEAN:
            return "true or false"
        case "second" if not _SECONDS.fullmatch(value):
            return "a number of seconds"
        case "select" if parameter.options and value not in parameter.options:
            return f"one of {', '.join(parameter.options)}"
    return ""


def _roles(agent: Agent, metadata: Metadata) -> Iterator[Fault]:
    if agent.promotable and not metadata.promotable:
        yield Fault("promotable", f"{agent.name} has no actions promote and demote: "
                                  "leave promotable out")
    if agent.notify and not metadata.offers("notify"):
        yield Fault("notify", f"{agent.name} has no action notify: leave notify out")


def _deprecated(agent: Agent, metadata: Metadata) -> Iterator[Fault]:
    if metadata.deprecated:
        yield Fault("agent", f"{agent.name} calls itself deprecated: see its documentation for "
                             "what replaces it")
    for parameter in metadata.parameters:
        if parameter.deprecated and parameter.name in agent.parameters:
            yield Fault(_key(parameter.name), f"{agent.name} calls this parameter deprecated: see "
                                              "its documentation for what replaces it")


def _hasty(agent: Agent, metadata: Metadata,
           timeouts: Mapping[str, Duration]) -> Iterator[Fault]:
    for action, timeout in timeouts.items():
        advised = metadata.advised_timeout(action)
        if timeout < advised:
            yield Fault(action, f"a timeout of {timeout / SECOND:g} s is less than the "
                                f"{advised / SECOND:g} s that {agent.name} advises: make it "
                                "longer, or be sure that this is enough")
