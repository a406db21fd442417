"""One fence device: which program asks it, and what that program is told.

Source: FenceAgentAPI of ClusterLabs' fence-agents (doc/FenceAgentAPI.md): without arguments, an
agent reads "key=value" lines from its standard input, `action=` among them; its exit status is 0
for done (status: on), 2 for a status that is off, anything else for failed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field

from hamgr.core.effects import RunDevice
from hamgr.core.types import SECOND, DeviceName, NodeName

AGENTS = Path("/usr/sbin")
"""Where Debian has the agents."""
Secret = Callable[[], str]
"""Reads a secret. Raises OSError, in words, if it cannot be used. Equal for equal sources."""


class Device(Struct, frozen=True, kw_only=True):
    """How one device is asked. Secrets are not in here, only how to get them."""

    name: DeviceName
    agent: str = ""
    """The fence agent; empty: a command of one's own."""
    command: tuple[str, ...] = ()
    plugs: Mapping[NodeName, str]
    """Whom it can cut off, with what each is called at the device; empty: there is only one."""
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line. There is never a secret in it: everybody can read those (ps)."""
        return self.command or (str(AGENTS / self.agent),)

    def to_read(self, effect: RunDevice, secrets: Mapping[str, str]) -> str:
        """Return what the program reads from its standard input.

        `port` is the older name of `plug`: agents that know both take them for one, and those
        that know one ignore the other (FenceAgentAPI: what is unknown is ignored).
        """
        plug = self.plugs[effect.node]
        told = {"nodename": effect.node, **self.options, **secrets,
                **({"port": plug, "plug": plug} if plug else {})}
        return "".join(f"{key}={value}\n" for key, value in {"action": effect.action,
                                                             **told}.items())

    def environment(self, effect: RunDevice) -> dict[str, str]:
        """Return what a command of one's own is told of its action; agents print in English, and
        no warnings that are for whoever maintains them."""
        if self.agent:
            return {"LC_ALL": "C", "PYTHONWARNINGS": "ignore"}
        facts = {"DEVICE": self.name, "ACTION": effect.action, "NODE": effect.node,
                 "PLUG": self.plugs[effect.node], "TIMEOUT": f"{effect.timeout / SECOND:g}"}
        return {f"HAMGR_FENCE_{name}": value.replace("\0", "") for name, value in facts.items()}
