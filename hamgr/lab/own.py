"""Groups of one's own in a lab: [group.NAME] tables as in any configuration, in a file of TOML.

Beside them [fencing] and [fence.NAME], since a group may ask for fence devices.

Two words in it stand for what only the lab knows:

    {hook}   a command for every action of a service: it records itself (hamgr.lab.hook), and its
             monitor says whether start or promote has run since the last stop, or demote, or boot
    {here}   a directory that each node has for itself, empty after a boot: for the state of what
             other commands and resource agents start
"""

import shlex
import sys
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hamgr.lab import hook


class Own(NamedTuple):
    """What the lab itself has to know of such groups."""

    moving: tuple[str, ...]
    """Those that have a holder, in the order of the file."""
    everywhere: tuple[str, ...]
    vips: dict[str, tuple[str, ...]]
    """Of each group, without prefix lengths."""


@lru_cache
def read(text: str) -> Own:
    """Read such a file. Raises ValueError with what is wrong; the rest is for the agents to say."""
    found = tomllib.loads(text)
    groups = found.pop("group", None)
    if not found.keys() <= {"fence", "fencing"} or not isinstance(groups, dict) or not groups:
        raise ValueError("it must have tables [group.NAME], and no others but [fencing] and "
                         "[fence.NAME]")
    everywhere = tuple(name for name, group in groups.items()
                       if group.get("mode") == "everywhere")
    return Own(moving=tuple(name for name in groups if name not in everywhere),
               everywhere=everywhere,
               vips={name: tuple(map(_address, group.get("vips", ())))
                     for name, group in groups.items()})


def filled(text: str, lab: Path) -> str:
    """Return the file with what its words stand for, in a lab's directory."""
    command = (sys.executable, "-I", "-S", hook.__file__, str(lab))
    return at_home(text.replace("{hook}", shlex.join(command)), lab)


def at_home(text: str, lab: Path) -> str:
    """Return a text with what {here} stands for."""
    return text.replace("{here}", str(home(lab)))


def home(lab: Path) -> Path:
    """Return the path at which each node sees the directory that it has for itself."""
    return lab / hook.HERE


def _address(vip: Any) -> str:
    return str(vip["address"] if isinstance(vip, dict) else vip).partition("/")[0]
