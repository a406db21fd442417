"""Asks the agents that are installed for their meta-data, each once. Blocks: never in the loop."""

import subprocess
from difflib import get_close_matches
from pathlib import Path

from hamgr.adapters.services.ocf.agent import OCF_ROOT, Agent, name_fault
from hamgr.adapters.services.ocf.metadata import Metadata, MetadataError, parse

WITHIN_S = 20.0
"""Agents advise 5 s for this; some ask the tools that they drive, on a machine that starts up."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class AgentUnknownError(Exception):
    """An agent is not installed, or does not say what it is; says why, and the remedy."""


class Catalogue:
    """The agents below one OCF_ROOT."""

    def __init__(self, root: Path = OCF_ROOT, within_s: float = WITHIN_S) -> None:
        self._root, self._within_s = root, within_s
        self._asked: dict[tuple[Path, int], Metadata] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all agents that are installed, sorted."""
        files = (path for path in (self._root / "resource.d").glob("*/*")
                 if path.is_file() and path.stat().st_mode & 0o111
                 and not path.name.startswith("."))
        return tuple(sorted(f"ocf:{path.parent.name}:{path.name}" for path in files))

    def metadata(self, name: str) -> Metadata:
        """Return an agent's meta-data. Raises AgentUnknownError."""
        if fault := name_fault(name):
            raise AgentUnknownError(fault)
        agent = Agent(name=name)
        path = agent.path(self._root)
        try:
            key = (path, path.stat().st_mtime_ns)
            if key not in self._asked:
                self._asked[key] = parse(self._ask(agent, path))
        except OSError as error:
            raise AgentUnknownError(f"{name} is not installed here: {path}: {error.strerror}; "
                                    f"{self._remedy(name)}") from error
        except (MetadataError, subprocess.TimeoutExpired) as error:
            why = (f"it does not answer in {self._within_s:g} s"
                   if isinstance(error, subprocess.TimeoutExpired) else error)
            raise AgentUnknownError(f"{name} does not say what it takes: {why}") from error
        return self._asked[key]

    def _remedy(self, name: str) -> str:
        if close := get_close_matches(name, self.names(), 1, 0.9):
            return f"did you mean {close[0]}?"
        return "install its package (Debian: resource-agents, pacemaker-resource-agents)"

    def _ask(self, agent: Agent, path: Path) -> str:
        """An agent that fails may still have printed what is asked for, so its status is nothing.

        Its own environment, since what agents print depends on it (defaults of parameters).
        """
        done = subprocess.run(
            [path, "meta-data"], check=False, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=self._within_s, cwd="/", env={
                "PATH": _PATH, "OCF_ROOT": str(self._root), "OCF_RA_VERSION_MAJOR": "1",
                "OCF_RA_VERSION_MINOR": "1", "OCF_RESOURCE_INSTANCE": agent.type,
                "OCF_RESOURCE_TYPE": agent.type, "OCF_RESOURCE_PROVIDER": agent.provider})
        return done.stdout.decode(errors="replace")
