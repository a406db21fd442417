"""A situation as a configuration of Pacemaker, and what crm_simulate makes of it.

Where hamgr's keys have the same meaning as Pacemaker's they are written as such (Pacemaker
Explained, chapters "Resource Constraints", "Advanced Resource Types"). The rest:

- `nodes` is an opt-in cluster in which each listed node scores BASE, so that no sum is negative:
  Pacemaker never uses a node whose sum is. The order of the list is a small difference on top.
- `failback` never is an infinite stickiness.
- Who must be apart from whom: of two groups, the one that is decided later depends on the other.
- A group that has service scores is promotable: the scores are promotion scores, and its place
  is where it is promoted.
"""

import os
import re
import subprocess
import xml.etree.ElementTree as ET
from itertools import count
from tempfile import TemporaryDirectory
from xml.etree.ElementTree import Element, SubElement

from hamgr.core.spec import FORBIDDEN
from hamgr.core.types import GroupName, NodeName
from hamgr.leader.policy import NOWHERE, Policy, Situation
from hamgr.leader.terms import decision_order

BASE = 50_000
"""More than all that can be taken from a node's score."""
SCALE = 100
"""Scores are multiplied by it, so that the order of nodes counts for less than one."""
TIE = 10
"""More than the order of nodes can make: a tie goes to the present holder."""
PROPERTIES = {"symmetric-cluster": "false", "stonith-enabled": "false",
              "no-quorum-policy": "ignore", "start-failure-is-fatal": "false"}
STARTED, STOPPED, PROMOTED = "0", "7", "8"
FEATURES = "3.16.1"
"""The feature set of Pacemaker 2.1.5; it refuses what claims a later one."""
MAGIC = "1:1:{result}:00000000-0000-0000-0000-000000000000"
CLONE = re.compile(r"Clone Set: \S+ \[(\S+)\]")
INSTANCES = re.compile(r"\* (Started|Promoted|Unpromoted|Stopped): \[ (.*) \]")
PRIMITIVE = re.compile(r"\* (\S+)\s+\(ocf:pacemaker:\w+\):\s+Started (\S+)")
INVALID = "An invalid transition was produced"
Places = dict[GroupName, tuple[NodeName, ...]]


class InvalidTransition(Exception):
    """Pacemaker made a transition that it could not carry out."""


def simulate(situation: Situation) -> Places:
    """Return where Pacemaker would have every group after one transition.

    Raises InvalidTransition if there is no such place.
    """
    with TemporaryDirectory() as shadow:  # its files are named by process only
        done = subprocess.run(["crm_simulate", "--xml-pipe", "--simulate"], input=cib(situation),
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "CIB_shadow_dir": shadow})
    if INVALID in done.stdout + done.stderr:
        raise InvalidTransition
    done.check_returncode()
    return _places(situation, done.stdout)


def cib(situation: Situation) -> str:
    """Return the whole configuration and status as Pacemaker keeps them."""
    return ET.tostring(_Cib(situation).root, encoding="unicode")


def is_promotable(situation: Situation, name: GroupName) -> bool:
    """Tell whether a group's place is that of its promoted service."""
    return bool(situation.groups.get(name, NOWHERE).scores)


class _Cib:
    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.policies = {policy.name: policy for policy in situation.policies}
        self.order = decision_order(self.policies)
        self._ids = count(1)
        self.root = Element("cib", {
            "crm_feature_set": FEATURES, "validate-with": "pacemaker-3.9", "epoch": "1",
            "num_updates": "0", "admin_epoch": "0", "have-quorum": "1", "dc-uuid": "1"})
        configuration = SubElement(self.root, "configuration")
        self._set(SubElement(configuration, "crm_config"), "cluster_property_set", PROPERTIES)
        self._nodes(SubElement(configuration, "nodes"))
        self._resources(SubElement(configuration, "resources"))
        self.constraints = SubElement(configuration, "constraints")
        for policy in situation.policies:
            self._locations(policy)
            self._colocations(policy)
            self._orders(policy)
        self._status(SubElement(self.root, "status"))

    def _id(self) -> str:
        return f"id{next(self._ids)}"

    def _set(self, parent: Element, tag: str, values: dict[str, str]) -> None:
        inside = SubElement(parent, tag, {"id": self._id()})
        for name, value in values.items():
            SubElement(inside, "nvpair", {"id": self._id(), "name": name, "value": value})

    def _promotable(self, name: GroupName) -> bool:
        return is_promotable(self.situation, name)

    def _rsc(self, name: GroupName) -> str:
        clone = self.policies[name].everywhere or self._promotable(name)
        return f"{name}-clone" if clone else name

    def _role(self, key: str, name: GroupName) -> dict[str, str]:
        return {key: "Promoted"} if self._promotable(name) else {}

    def _nodes(self, parent: Element) -> None:
        for number, (name, state) in enumerate(self.situation.nodes.items(), 1):
            node = SubElement(parent, "node", {"id": str(number), "uname": name})
            if state.bar is not None and state.bar.why == "in standby":
                self._set(node, "instance_attributes", {"standby": "on"})

    def _resources(self, parent: Element) -> None:
        for policy in sorted(self.situation.policies, key=lambda one: one.name):
            meta = {"priority": str(policy.priority)}
            promotable = self._promotable(policy.name)
            if policy.everywhere or promotable:
                parent_here = SubElement(parent, "clone", {"id": f"{policy.name}-clone"})
                self._set(parent_here, "meta_attributes", {
                    **meta, "interleave": "true", "promotable": str(promotable).lower(),
                    "clone-max": str(len(self.situation.nodes))})
            else:
                parent_here = parent
                meta["resource-stickiness"] = self._stickiness(policy)
            primitive = SubElement(parent_here, "primitive", {
                "id": policy.name, "class": "ocf", "provider": "pacemaker",
                "type": "Stateful" if promotable else "Dummy"})
            if parent_here is parent:
                self._set(primitive, "meta_attributes", meta)

    def _stickiness(self, policy: Policy) -> str:
        if policy.failback is None:
            return "INFINITY"
        return str(policy.stickiness * SCALE + (0 if self._led(policy) else TIE))

    def _led(self, policy: Policy) -> bool:
        """Tell whether the order of a group's nodes does not count."""
        return policy.everywhere or any(tie.mandatory and not self.policies[tie.group].everywhere
                                        for tie in policy.beside)

    def _locations(self, policy: Policy) -> None:
        state = self.situation.groups.get(policy.name, NOWHERE)
        promotable = self._promotable(policy.name)
        for number, node in enumerate(policy.nodes):
            score = policy.prefer.get(node, 0)
            barred = score <= FORBIDDEN or node in state.bars
            wish = BASE + score * SCALE + (0 if self._led(policy) else len(policy.nodes) - number)
            if barred or not promotable:
                self._location(policy.name, node, "-INFINITY" if barred else str(wish))
                continue
            self._location(policy.name, node, str(BASE))
            self._location(policy.name, node, str(wish), promoted=True)
            if node == state.holder:
                self._location(policy.name, node, self._stickiness(policy), promoted=True)

    def _location(self, name: GroupName, node: NodeName, score: str, *,
                  promoted: bool = False) -> None:
        location = SubElement(self.constraints, "rsc_location",
                              {"id": self._id(), "rsc": self._rsc(name)})
        rule = SubElement(location, "rule", {"id": self._id(), "score": score,
                                             **({"role": "Promoted"} if promoted else {})})
        SubElement(rule, "expression", {"id": self._id(), "attribute": "#uname",
                                        "operation": "eq", "value": node})

    def _colocations(self, policy: Policy) -> None:
        for tie in policy.beside:
            score = "INFINITY" if tie.mandatory else str(tie.score * SCALE)
            self._colocation(policy.name, tie.group, score)
        for tie in policy.apart:
            score = "-INFINITY" if tie.mandatory else str(-tie.score * SCALE)
            first, then = sorted((policy.name, tie.group), key=self.order.index)
            self._colocation(then, first, score)

    def _colocation(self, name: GroupName, target: GroupName, score: str) -> None:
        SubElement(self.constraints, "rsc_colocation", {
            "id": self._id(), "rsc": self._rsc(name), "with-rsc": self._rsc(target),
            "score": score, **self._role("rsc-role", name), **self._role("with-rsc-role", target)})

    def _orders(self, policy: Policy) -> None:
        for required in policy.requires:
            actions = {key: "promote" if self._promotable(name) else "start"
                       for key, name in (("first-action", required), ("then-action", policy.name))}
            SubElement(self.constraints, "rsc_order", {
                "id": self._id(), "first": self._rsc(required), "then": self._rsc(policy.name),
                "kind": "Mandatory", **actions})

    def _status(self, parent: Element) -> None:
        for number, (name, state) in enumerate(self.situation.nodes.items(), 1):
            heard = state.bar is None or state.bar.why == "in standby"
            there = SubElement(parent, "node_state", {
                "id": str(number), "uname": name, "in_ccm": str(heard).lower(),
                "crmd": "online" if heard else "offline",
                "join": "member" if heard else "down", "expected": "member" if heard else "down"})
            if heard:
                self._attributes(there, number, name)
                self._operations(there, number, name)

    def _attributes(self, parent: Element, number: int, node: NodeName) -> None:
        transient = SubElement(parent, "transient_attributes", {"id": str(number)})
        scores = {f"master-{name}": str(state.scores[node] * SCALE)
                  if state.scores[node] >= 0 else "-INFINITY"
                  for name, state in self.situation.groups.items() if node in state.scores}
        self._set(transient, "instance_attributes", scores)

    def _operations(self, parent: Element, number: int, node: NodeName) -> None:
        lrm = SubElement(SubElement(parent, "lrm", {"id": str(number)}), "lrm_resources")
        for policy in self.situation.policies:
            promotable, result = self._promotable(policy.name), self._found(policy, node)
            resource = SubElement(lrm, "lrm_resource", {
                "id": policy.name, "class": "ocf", "provider": "pacemaker",
                "type": "Stateful" if promotable else "Dummy"})
            key = MAGIC.format(result=result)
            SubElement(resource, "lrm_rsc_op", {
                "id": f"{policy.name}_last_0", "operation_key": f"{policy.name}_monitor_0",
                "operation": "monitor", "crm_feature_set": FEATURES, "transition-key": key,
                "transition-magic": f"0:{result};{key}", "call-id": "1", "rc-code": result,
                "op-status": "0", "interval": "0"})

    def _found(self, policy: Policy, node: NodeName) -> str:
        """Return what a monitor found: a promotable service is up wherever it can be."""
        state = self.situation.groups.get(policy.name, NOWHERE)
        if node in state.up:
            return PROMOTED if self._promotable(policy.name) else STARTED
        idle = (not self._promotable(policy.name) or node not in policy.nodes or node in state.bars
                or self.situation.nodes[node].bar is not None)
        return STOPPED if idle else STARTED


def _places(situation: Situation, answer: str) -> Places:
    """Read the last status: XML would not say on which nodes the instances of a clone are."""
    places: dict[GroupName, tuple[NodeName, ...]] = {one.name: () for one in situation.policies}
    name = ""
    for line in answer.rpartition("Revised Cluster Status:")[2].splitlines():
        if found := CLONE.search(line):
            name = found[1]
        elif found := INSTANCES.search(line):
            wanted = "Promoted" if is_promotable(situation, name) else "Started"
            if found[1] == wanted:
                places[name] = tuple(sorted(found[2].split()))
        elif found := PRIMITIVE.search(line):
            places[found[1]] = (found[2],)
    return places
