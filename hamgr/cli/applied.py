"""What is applied, who goes by it, and what the plan says: from the agent here, or ZooKeeper."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from hamgr.cli import client
from hamgr.cli.client import AgentDown, AgentOutOfReach, ask, first, told
from hamgr.config.document import Reading, load, parse
from hamgr.config.faults import ConfigError
from hamgr.config.key import read_keys
from hamgr.config.private import KeyFileError
from hamgr.config.schema import Document
from hamgr.config.seal import UNSEALED, is_sealed, sealed
from hamgr.core.records import Config, Plan, Request
from hamgr.core.types import NodeName

Say = Callable[[str], None]


class CannotTell(Exception):
    """Nobody can be asked, or nobody knows; the message says why."""


class Applied(Struct, frozen=True, kw_only=True):
    """What is applied, as it was known at one moment."""

    source: str
    """agent or zookeeper."""
    asked: str
    """In words, who was asked, and why not a better one."""
    config: Config
    reading: Reading
    """Of that document; of what the agent here goes by, where that document counts nowhere."""
    own: Document | None
    """What the agent here goes by; from ZooKeeper None."""
    refused: str
    """Why the agent here does not go by what is applied, or none will that has this node's keys."""
    plan: Plan
    digests: Mapping[NodeName, str]
    """What each living agent goes by; from ZooKeeper the digests are not known, and empty."""


class _Configuration(Struct):
    """The agent's answer to `configuration`."""

    applied: Config | None
    own: Config
    refused: str


class Through:
    """Where the command goes: to the agent of this run directory, else to ZooKeeper."""

    def __init__(self, run_dir: Path, config: Path) -> None:
        """config: names the servers of ZooKeeper, used when no agent answers."""
        self._run_dir, self._config = run_dir, config
        self._down = ""
        """Why the agent is not asked."""

    def look(self) -> Applied:
        """Return what is applied. Raises CannotTell, and AgentRefused if the agent does so."""
        if not self._down:
            try:
                return self._from_agent()
            except AgentOutOfReach as error:
                raise CannotTell(str(error)) from None
            except AgentDown as error:
                self._down = str(error)
        return self._from_zookeeper()

    def apply(self, config: Config, say: Say) -> str:
        """Put a document in the place of the one before it; return why not, if it was not done.

        Raises CannotTell, and AgentRefused with the words of the agent that does not do it.
        """
        if not self._down:
            order = {"do": "apply", "config": msgspec.to_builtins(config)}
            try:
                for answer in ask(self._run_dir, order, answer_s=30.0):
                    if "answer" in answer:
                        return ""
                    say(answer["progress"])
            except AgentDown as error:
                raise CannotTell(str(error)) from None
            raise CannotTell("the agent here went away before the end")
        from hamgr.cli import direct

        try:
            document = self._document()
            done = direct.apply(document, sealed(config, read_keys(document.cluster.key_file)[0]))
        except (direct.ZooKeeperDown, KeyFileError) as error:
            raise CannotTell(str(error)) from None
        return "" if done else ("meanwhile another document was applied; see hamgr config diff, "
                                "and apply again")

    def request(self, request: Request, say: Say, within_s: float) -> Request | None:
        """Put a request before the leader; return it as answered, None if it was not in time.

        Raises CannotTell, and AgentRefused.
        """
        if not self._down:
            order = {"do": "request", "request": msgspec.to_builtins(request),
                     "within_s": within_s}
            try:
                for answer in ask(self._run_dir, order, answer_s=within_s + 5):
                    if "answer" in answer:
                        return msgspec.convert(answer["answer"], type=Request | None)
                    say(answer["progress"])
            except AgentDown as error:
                raise CannotTell(str(error)) from None
            raise CannotTell("the agent here went away before the end")
        from hamgr.cli import direct

        try:
            return direct.ask(self._document(), request, say, within_s)
        except direct.ZooKeeperDown as error:
            raise CannotTell(str(error)) from None

    def _from_agent(self) -> Applied:
        status = client.status(self._run_dir)
        answer = told(first(self._run_dir, {"do": "configuration"}), _Configuration)
        config = answer.applied
        snapshot = status.snapshot
        if snapshot is None or snapshot.plan is None or config is None:
            why = status.process.why or (snapshot.zookeeper_why if snapshot is not None else "")
            raise CannotTell(f"the agent on {status.node} has not read what is applied yet"
                             f"{f': {why}' if why else ''}")
        detection = snapshot.plan.times.detection
        digests = {peer.node: peer.config for peer in snapshot.peers
                   if peer.heard_ago is not None and peer.heard_ago <= detection}
        own = parse(answer.own.document)
        unsealed = own.document is not None and _unsealed(config, own.document)
        return Applied(
            source="agent", asked=f"the agent on {status.node}", config=config,
            reading=own if unsealed else parse(config.document), own=own.document,
            refused=UNSEALED if unsealed else answer.refused, plan=snapshot.plan,
            digests={status.node: status.process.config_digest, **digests})

    def _from_zookeeper(self) -> Applied:
        from hamgr.cli import direct

        document = self._document()
        try:
            config, plan, sessions = direct.applied(document)
        except direct.ZooKeeperDown as error:
            raise CannotTell(f"{self._down}; {error}") from None
        if config is None or plan is None:
            raise CannotTell(f"{self._down}; ZooKeeper has no configuration of the cluster yet")
        return Applied(
            source="zookeeper", asked=f"ZooKeeper, since {self._down}", config=config,
            reading=parse(config.document), own=None, plan=plan,
            refused=UNSEALED if _unsealed(config, document) else "",
            digests=dict.fromkeys(sessions, ""))

    def _document(self) -> Document:
        try:
            return load(self._config)
        except ConfigError as error:
            raise CannotTell(f"{self._down}; ZooKeeper cannot be asked: {error}") from None


def _unsealed(config: Config, by: Document) -> bool:
    """Tell whether a record lacks the seal of this node's keys; False where they cannot be read."""
    try:
        return not is_sealed(config, read_keys(by.cluster.key_file))
    except KeyFileError:
        return False
