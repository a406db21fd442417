"""Asks the fence agents that are installed for their metadata. Blocks: never in the loop."""

import subprocess
from difflib import get_close_matches
from pathlib import Path

from hamgr.adapters.fence.device import AGENTS
from hamgr.adapters.fence.metadata import Metadata, MetadataError, parse
from hamgr.adapters.fence.words import NOT_INSTALLED

WITHIN_S = 20.0
"""Starting Python takes most of them 0.2 s, on a machine that does nothing else."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class AgentUnknownError(Exception):
    """An agent is not installed, or does not say what it is; says why, and the remedy."""


class Catalogue:
    """The agents in one folder."""

    def __init__(self, folder: Path = AGENTS, within_s: float = WITHIN_S) -> None:
        self._folder, self._within_s = folder, within_s

    def names(self) -> tuple[str, ...]:
        """Return the names of all agents that are installed, sorted."""
        return tuple(sorted(path.name for path in self._folder.glob("fence_*")))

    def metadata(self, name: str) -> Metadata:
        """Return an agent's metadata. Raises AgentUnknownError."""
        try:
            return parse(self._ask(self._folder / name))
        except OSError as error:
            close = get_close_matches(name, self.names(), 1, 0.8)
            remedy = f"did you mean {close[0]}?" if close else NOT_INSTALLED
            raise AgentUnknownError(
                f"{name} is not installed here: {error.strerror}; {remedy}") from error
        except (MetadataError, subprocess.TimeoutExpired) as error:
            why = (f"no answer in {self._within_s:g} s"
                   if isinstance(error, subprocess.TimeoutExpired) else error)
            raise AgentUnknownError(f"{name} does not say what it takes: {why}") from error

    def _ask(self, path: Path) -> str:
        """What matters is what it prints: some exit with a failure all the same."""
        done = subprocess.run([path], check=False, input=b"action=metadata\n", capture_output=True,
                              timeout=self._within_s, cwd="/",
                              env={"PATH": _PATH, "LC_ALL": "C"})
        return done.stdout.decode(errors="replace")
