"""A situation in the words of the cases of tests/leader/placement, and what is asked of it.

    nodes n1 n2 n3                      all of them fit; begins a new situation
    group db nodes=n1,n2 prefer=n1:100  a policy; also with=web,lb:50 and the like, see `do_group`
    at db n1                            where a group is and, if it runs everywhere, where it is up
    starting db n1                      belongs there, and is not up yet
    down n1 | standby n1 | back n1      what is so of a node
    bar db n1 WORDS | failed db n1      why a node cannot have a group; only as a last resort
    score db n1 10 | health n1 -10      what services and health add
    fit db n1 5m                        has been fit for so long
    place | settle                      decide once; or until nothing changes, as the leader would
    wake                                when to ask again
    explain db | why-not db n2 | check
"""

from msgspec.structs import replace

from hamgr.core.spec import FORBIDDEN, MANDATORY, Tie
from hamgr.core.types import NEVER, SECOND, Duration, NodeName
from hamgr.leader.account import explain, why_not
from hamgr.leader.place import place
from hamgr.leader.policy import NOWHERE, Bar, GroupState, NodeState, Placement, Policy, Situation
from hamgr.leader.policy_check import faults

NOW = 10_000 * SECOND
FAILED = Bar("a service of the group failed there beyond its limit", last_resort=True)
ROUNDS_MAX = 20


class Case:
    """One situation, and the commands that make it and ask about it."""

    def __init__(self) -> None:
        self.situation = Situation(now=NOW, policies=())

    def run(self, command: str) -> list[str]:
        """Carry out one command and return what it answers."""
        name, *words = command.split()
        return getattr(self, f"do_{name.replace('-', '_')}")(*words) or []

    def do_nodes(self, *names: NodeName) -> None:
        self.situation = Situation(now=NOW, policies=(),
                                   nodes={name: NodeState() for name in names})

    def do_group(self, name: str, *words: str) -> None:
        said = dict(word.split("=", 1) for word in words if "=" in word)
        listed = {key: tuple(text.split(",")) for key, text in said.items()}
        policy = Policy(
            name=name, nodes=listed.get("nodes", tuple(self.situation.nodes)),
            prefer={node: _score(text) for node, text in map(_pair, listed.get("prefer", ()))},
            stickiness=int(said.get("stickiness", 0)), priority=int(said.get("priority", 0)),
            failback=duration(said["failback"]) if "failback" in said else None,
            everywhere="everywhere" in words, has_addresses="vips" in words,
            beside=_ties(listed.get("with", ())), apart=_ties(listed.get("apart", ())),
            requires=listed.get("requires", ()))
        self.situation = replace(self.situation, policies=tuple(
            one for one in self.situation.policies if one.name != name) + (policy,))

    def do_at(self, name: str, *nodes: NodeName) -> None:
        everywhere = any(one.everywhere for one in self.situation.policies if one.name == name)
        self._change(name, holder="" if everywhere or not nodes else nodes[0], up=nodes)

    def do_starting(self, name: str, node: NodeName) -> None:
        self._change(name, holder=node, up=())

    def do_maintenance(self, name: str) -> None:
        self._change(name, maintenance=True)

    def do_down(self, *nodes: NodeName) -> None:
        self._bar_nodes(nodes, Bar("not heard"))

    def do_standby(self, *nodes: NodeName) -> None:
        self._bar_nodes(nodes, Bar("in standby", stays=True))

    def do_back(self, *nodes: NodeName) -> None:
        self._bar_nodes(nodes, None)

    def do_bar(self, name: str, node: NodeName, *why: str) -> None:
        self._change(name, bars={**self._state(name).bars, node: Bar(" ".join(why))})

    def do_failed(self, name: str, *nodes: NodeName) -> None:
        self._change(name, bars={**self._state(name).bars, **dict.fromkeys(nodes, FAILED)})

    def do_score(self, name: str, node: NodeName, score: str) -> None:
        self._change(name, scores={**self._state(name).scores, node: int(score)})

    def do_health(self, node: NodeName, score: str) -> None:
        there = replace(self.situation.nodes[node], score=int(score))
        self.situation = replace(self.situation, nodes={**self.situation.nodes, node: there})

    def do_fit(self, name: str, node: NodeName, time: str) -> None:
        since = {**self._state(name).fit_since, node: NOW - duration(time)}
        self._change(name, fit_since=since)

    def do_place(self) -> list[str]:
        return shown(self.situation, place(self.situation))

    def do_settle(self) -> list[str]:
        """Do what `place` says, as far as nothing has to wait, until it says nothing new."""
        lines: list[str] = []
        for number in range(1, ROUNDS_MAX):
            after = applied(self.situation, place(self.situation))
            if after == self.situation:
                return [*lines, *self.do_place()]
            lines += [f"step {number}: {line}" for line in changes(self.situation, after)]
            self.situation = after
        raise AssertionError(f"{lines} and no end")

    def do_wake(self) -> list[str]:
        wake = place(self.situation).wake
        return ["never" if wake == NEVER else f"in {(wake - NOW) // SECOND} s"]

    def do_explain(self, name: str) -> list[str]:
        return explain(place(self.situation, (name,)).accounts[name])

    def do_why_not(self, name: str, node: NodeName) -> list[str]:
        return [why_not(place(self.situation, (name,)).accounts[name], node)]

    def do_check(self) -> list[str]:
        return [f"{fault.group}: {fault.key}: {fault.text}"
                for fault in faults(self.situation.policies)] or ["no fault"]

    def _state(self, name: str) -> GroupState:
        return self.situation.groups.get(name, NOWHERE)

    def _change(self, name: str, **what: object) -> None:
        changed = replace(self._state(name), **what)
        self.situation = replace(self.situation, groups={**self.situation.groups, name: changed})

    def _bar_nodes(self, nodes: tuple[NodeName, ...], bar: Bar | None) -> None:
        barred = {node: replace(self.situation.nodes[node], bar=bar) for node in nodes}
        self.situation = replace(self.situation, nodes={**self.situation.nodes, **barred})


def shown(situation: Situation, placement: Placement) -> list[str]:
    """Return a line for each group: where it was and shall be, its heirs, what it waits for."""
    lines = []
    for policy in sorted(situation.policies, key=lambda one: one.name):
        spot = placement.spots[policy.name]
        state = situation.groups.get(policy.name, NOWHERE)
        was = " ".join(state.up if policy.everywhere else [state.holder]) or "nowhere"
        shall = " ".join(spot.nodes) or "nowhere"
        heirs = f", heirs {' '.join(spot.heirs)}" if spot.heirs else ""
        waits = f", waits: {spot.waits}" if spot.waits else ""
        moves = shall if shall == was else f"{was} -> {shall}"
        lines.append(f"{policy.name}: {moves}{heirs}{waits}")
    return lines


def applied(situation: Situation, placement: Placement) -> Situation:
    """Return what is so when every group that need not wait is where it shall be."""
    groups = dict(situation.groups)
    for policy in situation.policies:
        state, spot = groups.get(policy.name, NOWHERE), placement.spots[policy.name]
        holder = "" if policy.everywhere else spot.node
        up = tuple(node for node in spot.nodes if not spot.waits or node in state.up)
        groups[policy.name] = replace(state, holder=holder, up=up)
    return replace(situation, groups=groups)


def changes(before: Situation, after: Situation) -> list[str]:
    """Return what became of the groups that are elsewhere, or up, only after."""
    lines = []
    for name, state in sorted(after.groups.items()):
        old = before.groups.get(name, NOWHERE)
        if (old.holder, old.up) != (state.holder, state.up):
            where = " ".join(state.up) or (f"{state.holder}, not started" if state.holder else
                                           "nowhere")
            lines.append(f"{name} on {where}" if where != "nowhere" else f"{name} nowhere")
    return lines


def duration(text: str) -> Duration:
    """Read "30s" or "5m"."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]] * SECOND


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name, value


def _score(text: str) -> int:
    return FORBIDDEN if text == "never" else int(text)


def _ties(words: tuple[str, ...]) -> tuple[Tie, ...]:
    return tuple(Tie(group, int(score) if score else MANDATORY)
                 for group, score in map(_pair, words))
