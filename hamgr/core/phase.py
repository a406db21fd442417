"""Where a group is on its way up or down, and on what occasion."""

from enum import Enum

from msgspec import Struct

from hamgr.core.types import NodeName


class Phase(str, Enum):
    """Where a group is on its way up or down."""

    INACTIVE = "inactive"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"


class Occasion(Struct, frozen=True):
    """Why a group starts or stops: facts for the hooks' environment and for people."""

    why: str
    planned: bool = False
    origin: NodeName = ""
    target: NodeName = ""
