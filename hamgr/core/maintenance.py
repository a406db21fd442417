"""Maintenance of a group, on the node that owns it (rule 22).

On:  kept on disk first, then the switch disarmed and lifetimes made unlimited.
Off: lifetimes and switch first, then forgotten on disk; only then does the heartbeat say `armed`,
     and only then does the leader take the owner for an ordinary holder again.
"""

from hamgr.core.effects import Effect, KeepMaintenance, LoosenAddresses, Report, TightenAddresses
from hamgr.core.events import AddressesClaimed, MaintenanceKept
from hamgr.core.knowledge import Knowledge
from hamgr.core.phase import Phase
from hamgr.core.reasons import Reason
from hamgr.core.records import GroupPlan
from hamgr.core.rights import GroupRights
from hamgr.core.seat import SeatKeeper
from hamgr.core.types import Instant, Maintenance


def follow(rights: GroupRights, plan: GroupPlan | None, knowledge: Knowledge, seat: SeatKeeper,
           now: Instant) -> list[Effect]:
    """Take the next step that the plan's word on maintenance asks of this node."""
    local, holder = rights.local, plan.holder if plan is not None else None
    if plan is None or not local.is_active or rights.keeping:
        return []
    owner = holder is not None and holder.node == knowledge.node and holder.epoch == local.epoch
    if plan.maintenance is Maintenance.ON and owner and not rights.maintained:
        if local.phase is not Phase.ACTIVE:
            return []
        rights.keeping = True
        return [KeepMaintenance(group=rights.name, epoch=local.epoch, on=True)]
    if not rights.maintained:
        return []
    ends = plan.maintenance is Maintenance.ENDING and owner and seat.holds(now)
    # Or the plan has moved on without us, by an operator's word: what is here must stop.
    if not ends and plan.maintenance is not Maintenance.OFF and owner:
        return []
    rights.keeping = True
    if ends and local.spec.has_addresses:
        return [*local.arm(), TightenAddresses(group=rights.name, epoch=local.epoch)]
    return [*local.arm(), KeepMaintenance(group=rights.name, epoch=local.epoch, on=False)]


def tightened(rights: GroupRights, event: AddressesClaimed) -> bool:
    """Tell whether an answer belongs to TightenAddresses, not to a claim."""
    return bool(rights.maintained) and rights.keeping and event.epoch == rights.local.epoch


def armed_again(rights: GroupRights, event: AddressesClaimed) -> list[Effect]:
    """The addresses have lifetimes again, or were not there: forget maintenance on disk."""
    if not event.ok:
        rights.give_up(rights.local.epoch)
    return [KeepMaintenance(group=rights.name, epoch=rights.local.epoch, on=False)]


def kept(rights: GroupRights, event: MaintenanceKept) -> list[Effect]:
    """The disk knows: go on."""
    if not rights.keeping:
        return []
    local = rights.local
    if event.on and local.phase is not Phase.ACTIVE:
        # It stopped, or is stopping, while the disk was slow: there is nothing to leave in place.
        return [KeepMaintenance(group=rights.name, epoch=0, on=False)]
    rights.keeping = False
    if event.on:
        rights.maintained = local.epoch
        return [*local.loosen(), LoosenAddresses(group=rights.name),
                Report(reason=Reason.MAINTENANCE_ON, group=rights.name)]
    if not rights.maintained:
        return []
    rights.maintained = 0
    local.look_again()
    return [Report(reason=Reason.MAINTENANCE_OFF, group=rights.name)]
