"""Where every group of a cluster shall be: a pure function of its policies and of what is so."""

from collections.abc import Collection

from hamgr.core.types import GroupName
from hamgr.leader.policy import Placement, Situation


def place(situation: Situation, account_for: Collection[GroupName] = ()) -> Placement:
    """Decide where every group shall be, with an account for each group that is asked for."""
    raise NotImplementedError
