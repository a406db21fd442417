"""The driver "ocf": resource agents of the Open Cluster Framework, as Pacemaker runs them."""

from hamgr.adapters.services.ocf.agent import Agent, instance, name_fault
from hamgr.adapters.services.ocf.attributes import Attributes, LocalAttributes
from hamgr.adapters.services.ocf.catalogue import AgentUnknownError, Catalogue
from hamgr.adapters.services.ocf.checks import Checked, Fault, check, clashes
from hamgr.adapters.services.ocf.driver import OcfAgents
from hamgr.adapters.services.ocf.peers import Peers, Replicas

__all__ = ["Agent", "AgentUnknownError", "Attributes", "Catalogue", "Checked", "Fault",
           "LocalAttributes", "OcfAgents", "Peers", "Replicas", "check", "clashes", "instance",
           "name_fault"]
