"""hamgr: a heartbeat-based cluster manager with virtual-IP failover."""

__version__ = "0.1.0"
