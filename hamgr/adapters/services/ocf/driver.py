"""The driver "ocf": a service whose actions an OCF resource agent carries out. Port Services.

Agents are run by the small process beside the agent (see `runs`), in the environment that
Pacemaker would give them, with its commands (crm_attribute and the like) answered by hamgr (see
`shims`); what hooks are told (HAMGR_EPOCH and so on) they are told besides. Promotion scores that
agents set are posted as ServiceScored.

A promotable service with `notify` is told of its own changes before and after them, in order and
within the action's timeout, as Pacemaker does it: a start only after, a stop only before, since
what does not run is not told anything. Of what became of the other nodes' replicas it is told
afterwards (`tell`, see `telling`); of a promotion also what Pacemaker tells before it, since agents
count on having heard both.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from hamgr.adapters.services.hook import facts
from hamgr.adapters.services.ocf.agent import OCF_ROOT, Agent, instance
from hamgr.adapters.services.ocf.answers import Desk
from hamgr.adapters.services.ocf.attributes import (
    CLUSTER,
    INFINITY,
    SCORE_PREFIX,
    Attributes,
    Lifetime,
    score,
)
from hamgr.adapters.services.ocf.environment import RSCTMP, Call, Place, environment
from hamgr.adapters.services.ocf.marks import PROMOTED, Marks
from hamgr.adapters.services.ocf.peers import Peers, Replicas, alone
from hamgr.adapters.services.ocf.shims import Shims
from hamgr.adapters.services.ocf.telling import TELL_S, Telling
from hamgr.adapters.services.ocf.verdict import Verdict, verdict
from hamgr.adapters.services.runs import Ended, Runs
from hamgr.core.effects import RunService, TellReplicas
from hamgr.core.events import AttributeChanged, ServiceAnswered, ServiceScored
from hamgr.core.types import SECOND, Found, GroupName, NodeName, ServiceName
from hamgr.ports import Post

log = logging.getLogger(__name__)

Key = tuple[GroupName, ServiceName]
_TOLD_BEFORE, _TOLD_AFTER = ("stop", "promote", "demote"), ("start", "promote", "demote")
_BECOMES = {"start": Found.STARTED, "demote": Found.STARTED, "promote": Found.PROMOTED,
            "stop": Found.STOPPED}
MAKE_WAY_S = 2.0
"""How long an action that changes something waits for a notification of others. One that only looks
has half of its time for that, since what a notification began is better brought to its end."""


class OcfAgents:
    """Runs the resource agents of every service whose driver is "ocf"."""

    def __init__(self, cluster: str, node: NodeName, agents: Mapping[Key, Agent], post: Post, *,
                 directory: Path, attributes: Attributes, root: Path = OCF_ROOT) -> None:
        """`directory` is for the commands and their socket: on a file system with programs."""
        self._cluster, self._node, self._post = cluster, node, post
        self._agents = dict(agents)
        self._attributes = attributes
        self._look: Callable[[], Peers] = lambda: alone(node)
        self._here: dict[Key, Found] = {}
        """What this node's own actions found last: newer than what others say of it."""
        self._unable: dict[Key, str] = {}
        """What cannot run here, by the last probe, and why."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._numbers: dict[int, int] = {}
        """By run of a RunService: the number of the command that runs for it."""
        self._given_up: dict[int, str] = {}
        """By run: why no further command may be started for it."""
        self._marks = Marks(node, attributes)
        self._telling = Telling(self._tell_replica, self._end_telling, self._marks.ready)
        self._told: dict[Key, int] = {}
        """By service: the number of the notification of others that runs for it."""
        self._runs = Runs()
        self._shims = Shims(directory, Desk(node, attributes, self._picture,
                                            lambda: self._agents))
        self._place = Place(node, self._shims.commands, self._shims.socket, root)
        attributes.listen(self._attribute_changed)

    def configure(self, agents: Mapping[Key, Agent]) -> None:
        """Use these agents from the next action on. Start anew if there were none before."""
        self._agents = dict(agents)

    def see(self, look: Callable[[], Peers]) -> None:
        """Ask this for a picture of the cluster whenever agents are told of it, or ask."""
        self._look = look

    def retell(self) -> None:
        """Post again what a new engine does not know: promotion scores and attributes."""
        for key in self._agents:
            self._post_score(key)
        for name, value in self._attributes.of(self._node).items():
            self._post(AttributeChanged(name=name, value=value))

    async def start(self) -> None:
        """Start the runner and the shims, if there is any agent. Raises OSError if it cannot."""
        if self._agents:
            _make_rsctmp()
            await self._shims.start()
            self._runs.open()

    def run(self, effect: RunService) -> None:
        """Start the action; exactly one ServiceAnswered follows."""
        agent = self._agents.get((effect.group, effect.service))
        if agent is None:
            asyncio.get_running_loop().call_soon(
                self._answer, effect, Verdict(False, why="no resource agent is configured"))
            return
        self._tasks[effect.run] = asyncio.create_task(self._carry_out(effect, agent))

    def cancel(self, run: int) -> None:
        """Kill a run that is going on, with all of its process group."""
        if run in self._tasks:
            self._given_up[run] = "cancelled"
        if run in self._numbers:
            self._runs.cancel(self._numbers[run])

    def tell(self, effect: TellReplicas) -> None:
        """Tell the group's replicas here what became of another node's; nothing follows."""
        for key, agent in self._agents.items():
            if (key[0] == effect.group and agent.promotable and agent.notify
                    and not self._marks.knows(key, effect)):
                self._telling.add(key, effect)

    async def close(self) -> None:
        """Kill whatever still runs; it is answered for as failed."""
        self._given_up = dict.fromkeys(self._tasks, "the agent ends")
        self._telling.shut()
        await self._runs.close()
        await self._telling.ended()
        await asyncio.gather(*self._tasks.values())
        await self._shims.close()

    async def _carry_out(self, effect: RunService, agent: Agent) -> None:
        """Run one action and answer, whatever happens: the engine waits for it."""
        key = (effect.group, effect.service)
        try:
            judged = await self._act(effect, agent)
            self._note(effect, judged)
        except Exception as error:
            # No lease depends on this service: it must not end the agent.
            log.exception("%s of %s of group %s", effect.action, effect.service, effect.group)
            judged = Verdict(False, why=f"the driver has failed: {error!r}")
        self._telling.go_on(key)
        del self._tasks[effect.run]
        self._given_up.pop(effect.run, None)
        self._answer(effect, judged)

    async def _act(self, effect: RunService, agent: Agent) -> Verdict:
        """Run one action, and what is told before and after it."""
        deadline = asyncio.get_running_loop().time() + effect.timeout / SECOND
        half = effect.timeout / SECOND / 2
        looks, key = effect.action in ("probe", "monitor"), (effect.group, effect.service)
        await self._telling.make_way(key, half if looks else min(half, MAKE_WAY_S), looks)
        if effect.action == "promote":
            self._telling.forget(key)
        elif effect.action == "start" and agent.promotable:
            self._marks.started(key, self._picture().of(*key).promoted)
        told = agent.promotable and agent.notify
        if told and effect.action in _TOLD_BEFORE:
            await self._notify(effect, agent, "pre", deadline)
        ended = await self._call(effect, self._call_of(effect, agent), deadline)
        judged = verdict(effect.action, ended, agent.promotable, effect.active)
        if told and judged.ok and effect.action in _TOLD_AFTER:
            await self._notify(effect, agent, "post", deadline)
        if told and judged.ok and effect.action == "promote":
            self._marks.promoted(key, effect.epoch)
        return judged

    def _call_of(self, effect: RunService, agent: Agent) -> Call:
        """hamgr's probe is a monitor that does not recur."""
        action = "monitor" if effect.action == "probe" else effect.action
        return Call(agent, instance(effect.group, effect.service), action, effect.timeout,
                    agent.interval if effect.action == "monitor" else 0)

    async def _notify(self, effect: RunService, agent: Agent, kind: str,
                      deadline: float) -> None:
        """Tell the agent. Before the action, half of the time is left to the action itself.

        That it fails changes nothing, as with Pacemaker: it must not, says the API.
        """
        now = asyncio.get_running_loop().time()
        until = now + (deadline - now) / 2 if kind == "pre" else deadline
        call = Call(agent, instance(effect.group, effect.service), "notify",
                    round((until - now) * SECOND), notify=(kind, effect.action))
        ended = await self._call(effect, call, until)
        if not ended.ok:
            log.warning("%s of group %s was not told of %s (%s): %s", effect.service,
                        effect.group, effect.action, kind, ended.why)

    async def _call(self, effect: RunService, call: Call, deadline: float) -> Ended:
        if effect.run in self._given_up:
            return Ended(None, self._given_up[effect.run])
        peers = self._picture()
        self._numbers[effect.run], ended = self._start(
            effect, call, deadline, peers, peers.of(effect.group, effect.service))
        try:
            return await ended
        finally:
            del self._numbers[effect.run]

    def _start(self, effect: RunService, call: Call, deadline: float, peers: Peers,
               replicas: Replicas) -> "tuple[int, asyncio.Future[Ended]]":
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Ended] = loop.create_future()
        number = self._runs.start(
            (str(call.agent.path(self._place.root)), call.action),
            {**facts(self._cluster, self._node, effect),
             **environment(call, self._place, peers, replicas)},
            max(0.0, round(deadline - loop.time(), 2)), partial(_settle, ended))
        return number, ended

    async def _tell_replica(self, key: Key, effect: TellReplicas) -> None:
        """Tell one service here of another node's; only if it runs, and as a replica."""
        agent = self._agents.get(key)
        if agent is None or self._here.get(key) is not Found.STARTED:
            return
        until = asyncio.get_running_loop().time() + TELL_S
        for kind in ("pre", "post") if effect.action == "promote" else ("post",):
            self._told[key], ended = self._start_telling(key, agent, effect, kind, until)
            end = await ended
            if not end.ok:
                log.warning("%s of group %s was not told of the %s on %s: %s", key[1], key[0],
                            effect.action, effect.node, end.why)
            if self._told.pop(key, None) is None or end.ending:
                return
            if end.ok and kind == "post":
                self._marks.told(key, effect)

    def _start_telling(self, key: Key, agent: Agent, effect: TellReplicas, kind: str,
                       until: float) -> "tuple[int, asyncio.Future[Ended]]":
        """The lists of replicas are as they were before the change, as with Pacemaker."""
        was = Found.STARTED if effect.action == "promote" else Found.PROMOTED
        call = Call(agent, instance(*key), "notify", round(TELL_S * SECOND),
                    notify=(kind, effect.action), subject=effect.node)
        as_action = RunService(run=0, group=key[0], service=key[1], action="notify", active=False,
                               epoch=effect.epoch, timeout=call.timeout, target=effect.node)
        peers = self._picture()
        return self._start(as_action, call, until, peers,
                           _with(peers.of(*key), effect.node, was))

    def _end_telling(self, key: Key) -> None:
        if key in self._told:
            self._runs.cancel(self._told.pop(key))

    def _note(self, effect: RunService, judged: Verdict) -> None:
        """Keep what is known of this node from its own actions."""
        key = (effect.group, effect.service)
        found = judged.found
        if judged.ok and found is Found.UNKNOWN:
            found = _BECOMES.get(effect.action, Found.UNKNOWN)
        if found is not Found.UNKNOWN:
            self._here[key] = found
        if judged.ok and (effect.action == "probe" or found in (Found.STARTED, Found.PROMOTED)):
            self._note_ability(key, judged)  # a service before it may have brought what was missing

    def _note_ability(self, key: Key, judged: Verdict) -> None:
        before = self._unable.pop(key, "")
        if judged.unable:
            self._unable[key] = judged.why
        if before != self._unable.get(key, ""):
            self._post_score(key)

    def _picture(self) -> Peers:
        """The cluster, with this node as its own actions found it."""
        peers = self._look()
        return replace(peers, of=lambda *key: _with(peers.of(*key), self._node,
                                                    self._here.get(key)))

    def _attribute_changed(self, node: NodeName, name: str, value: str | None) -> None:
        for key in self._agents if node == CLUSTER else ():
            if name == instance(*key) + PROMOTED:
                self._telling.news(key)
        if node != self._node:
            return
        if not name.startswith(SCORE_PREFIX):
            self._post(AttributeChanged(name=name, value=value))
        for key in self._agents:
            if name == SCORE_PREFIX + instance(*key):
                self._post_score(key)

    def _post_score(self, key: Key) -> None:
        """Post how well this node would do: what cannot run here at all overrides its score.

        Pacemaker promotes no replica that has no score: its priority for that is -1 then.
        """
        agent = self._agents.get(key)
        if agent is None:
            return
        points, why = self._score(key, agent)
        self._post(ServiceScored(group=key[0], service=key[1], score=points, why=why))

    def _score(self, key: Key, agent: Agent) -> tuple[int, str]:
        if key in self._unable:
            return -INFINITY, self._unable[key]
        name = SCORE_PREFIX + instance(*key)
        values = (self._attributes.get(self._node, name, lifetime) for lifetime in Lifetime)
        value = next((value for value in values if value is not None), None)
        if value is None:
            return (-1, "it has no promotion score") if agent.promotable else (0, "")
        try:
            return score(value), f"promotion score {value}"
        except ValueError:
            return -INFINITY, f"promotion score {value!r} is no number"

    def _answer(self, effect: RunService, judged: Verdict) -> None:
        self._post(ServiceAnswered(run=effect.run, group=effect.group, service=effect.service,
                                   action=effect.action, ok=judged.ok, why=judged.why,
                                   found=judged.found))


def _make_rsctmp() -> None:
    """Agents take it for given. Debian's resource-agents makes it at each boot, too."""
    Path(RSCTMP).mkdir(mode=0o1755, parents=True, exist_ok=True)


def _settle(future: "asyncio.Future[Ended]", ended: Ended) -> None:
    if not future.done():
        future.set_result(ended)


def _with(replicas: Replicas, node: NodeName, found: Found | None) -> Replicas:
    """Return where a service runs, with one node as it was found."""
    if found is None:
        return replicas
    promoted = tuple(one for one in replicas.promoted if one != node)
    unpromoted = tuple(one for one in replicas.unpromoted if one != node)
    if found is Found.PROMOTED:
        promoted = (*promoted, node)
    elif found in (Found.STARTED, Found.FAILED):
        unpromoted = (*unpromoted, node)
    return replace(replicas, promoted=promoted, unpromoted=unpromoted)
