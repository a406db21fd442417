"""A cluster on one machine: network namespaces, real agents, real ZooKeeper, faults, a client."""
