"""What of other groups a group waits for, once its right is granted and before it starts.

Its own right says that it may start here as far as it goes itself. How it stands to other groups
is looked at by whoever starts it, at that moment: an heir asks nobody, and what it requires may be
taking over at the same time on yet another node.
"""

from collections.abc import Mapping

from hamgr.core.knowledge import Knowledge
from hamgr.core.records import UNPLANNED
from hamgr.core.rights import GroupRights
from hamgr.core.spec import GroupSpec
from hamgr.core.types import GroupName, Instant

Groups = Mapping[GroupName, GroupRights]


def hindrance(spec: GroupSpec, ours: Groups, knowledge: Knowledge, now: Instant) -> str:
    """Say which group keeps another from starting here, or nothing.

    `requires` and `with` a group that runs everywhere: those first, as Pacemaker's mandatory
    ordering of starts (Pacemaker Explained, "Specifying the Order"); `apart`: not beside it.
    """
    for foe in knowledge.spec.foes.get(spec.name, ()):
        if foe in ours and ours[foe].local.is_active:
            return f"{foe} is active here, and must be apart from it"
    for name in spec.requires:
        if not is_up(name, ours, knowledge, now):
            return f"{name} is not active"
    for tie in spec.beside:
        other = knowledge.spec.group(tie.group)
        if tie.mandatory and other is not None and other.everywhere and not (
                tie.group in ours and ours[tie.group].is_up()):
            return f"{tie.group} is not active on {knowledge.node}"
    return ""


def is_up(name: GroupName, ours: Groups, knowledge: Knowledge, now: Instant) -> bool:
    """Tell whether a group is completely started somewhere, by the newest word of who is heard."""
    if name in ours and ours[name].is_up():
        return True
    spec, plan = knowledge.spec.group(name), knowledge.plan
    if spec is None or plan is None:
        return False
    owners = spec.nodes if spec.everywhere else [
        right.node for right in plan.groups.get(name, UNPLANNED).rights]
    for node in owners:
        said, peer = knowledge.liveness.says(node, now), knowledge.liveness.peers.get(node)
        word = said.word(name) if said is not None else None
        # A life that is known from the seat alone has said nothing yet.
        if word is not None and word.up and bool(word.epoch) is not spec.everywhere and (
                said is not None and peer is not None and said.life == peer.known):
            return True
    return False
