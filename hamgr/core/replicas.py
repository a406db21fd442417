"""What has become of a group's replicas on other nodes, told to those that rest here.

Some replicas must be pointed at a new primary: OCF agents learn of it by notifications (OCF
resource agent API 1.1, "notify"; Pacemaker Explained, "Clone Notifications"), those that come
after the fact only: nothing waits for them.
"""

from hamgr.core.effects import TellReplicas
from hamgr.core.knowledge import Knowledge
from hamgr.core.records import GroupPlan, Right
from hamgr.core.rights import GroupRights, own_rights
from hamgr.core.types import Role


def tell(rights: GroupRights, plan: GroupPlan, knowledge: Knowledge) -> list[TellReplicas]:
    """Return what to tell the replicas of a group here since it was last asked: once they run."""
    replicas = [one for one in rights.local.services if one.spec.promotable]
    if rights.local.is_active:
        rights.primary = None
    if not replicas or rights.local.is_active or not all(
            one.is_in(Role.STARTED) for one in replicas):
        return []
    mine, known = own_rights(knowledge, plan), rights.primary
    told = []
    if known is not None and _says_down(known, rights.name, knowledge):
        told.append(TellReplicas(group=rights.name, node=known.node, action="demote",
                                 epoch=known.epoch))
        rights.primary = None
    for right in plan.rights:
        word = None if right in mine else knowledge.word(right, rights.name)
        if word is not None and word.up and word.epoch == right.epoch and (
                known is None or right.epoch > known.epoch):
            told.append(TellReplicas(group=rights.name, node=right.node, action="promote",
                                     epoch=right.epoch))
            rights.primary = known = right
    return told


def _says_down(right: Right, group: str, knowledge: Knowledge) -> bool:
    word = knowledge.word(right, group)
    return word is not None and word.epoch != right.epoch and word.done >= right.epoch
