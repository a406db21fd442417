"""The records in ZooKeeper: `ZooKeeper` follows and writes them, `connected` looks once."""

from hamgr.adapters.zookeeper.access import OPEN, Access, AccessError, tls_in_words
from hamgr.adapters.zookeeper.coordinator import ZooKeeper
from hamgr.adapters.zookeeper.session import NotAnswered, deadline_for
from hamgr.adapters.zookeeper.tamed import NotSent
from hamgr.adapters.zookeeper.tree import Happened, Tree, connected

__all__ = ["OPEN", "Access", "AccessError", "Happened", "NotAnswered", "NotSent", "Tree",
           "ZooKeeper", "connected", "deadline_for", "tls_in_words"]
