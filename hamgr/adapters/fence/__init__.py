"""Fence devices: Debian's fence agents, unchanged, or commands of one's own."""

from hamgr.adapters.fence.catalogue import AgentUnknownError, Catalogue
from hamgr.adapters.fence.checks import Misfit, check
from hamgr.adapters.fence.device import AGENTS, Device
from hamgr.adapters.fence.devices import Devices
from hamgr.adapters.fence.tested import ProofRecords

__all__ = ["AGENTS", "AgentUnknownError", "Catalogue", "Device", "Devices", "Misfit",
           "ProofRecords", "check"]
