"""The network of a lab: one switch in a namespace of its own, one bridge a ring, one link a port.

Every fault of the network is made at the switch, so a node can neither notice how it came about
nor repair it: a link that is cut loses its carrier, everything else is one nftables table of the
bridge family, replaced whole each time.
"""

from collections.abc import Sequence

from hamgr.lab.cgroup import Cgroup
from hamgr.lab.netns import NETNS
from hamgr.lab.spec import (
    CLIENT,
    SWITCH,
    Faults,
    LabSpec,
    address,
    address6,
    namespace,
)

_PORT_INDEX = 1000
"""Numbers of the switch's ports start here, so that both ends of a link never have the same
interface index: the kernel takes such a pair for a plain device, and reports the second change of
its carrier within a second up to a second late (linkwatch)."""

HEARTBEATS = ("udp dport 7410", "ip protocol 112")
"""What nftables knows heartbeats by: hamgr's, and keepalived's (VRRP, RFC 9568), which benchmarks
put into the same network."""

_MAC = "02:77:00:00:{:02x}:{:02x}"
"""A host's address on a ring; it stays across a reboot, as that of a real card does."""


def port(host: str, ring: int) -> str:
    """Return the name of the switch's port to a host."""
    return f"{host}-r{ring}"


def interface(ring: int) -> str:
    """Return the name of a host's interface on a ring."""
    return f"ring{ring}"


def build(spec: LabSpec) -> None:
    """Make all namespaces, the bridges, and every link."""
    switch = namespace(spec.name, SWITCH)
    _run(spec, "ip", "-batch", "-", script="\n".join(
        f"netns add {space}" for space in
        (switch, *(namespace(spec.name, host) for host in spec.hosts))))
    bridges = [line for ring in range(1, spec.rings + 1) for line in (
        f"link add br{ring} type bridge forward_delay 0 mcast_snooping 0",
        f"link set br{ring} up")]
    _ip(spec, SWITCH, ["link set lo up", *bridges])
    for host in spec.hosts:
        plug_in(spec, host)


def plug_in(spec: LabSpec, host: str) -> None:
    """Give a host its links and addresses, as its power comes on."""
    number = spec.hosts.index(host) + 1
    ports, own = [], ["link set lo up"]
    for ring in spec.rings_of(host):
        name = port(host, ring)
        ports += [
            f"link add {name} index {_PORT_INDEX * ring + number} type veth "
            f"peer name {interface(ring)} netns {namespace(spec.name, host)} "
            f"address {_MAC.format(ring, number)}",
            f"link set {name} master br{ring} addrgenmode none up",
        ]
        own += [
            f"link set {interface(ring)} addrgenmode none",
            f"addr add {address(host, ring)}/24 dev {interface(ring)}",
            f"addr add {address6(host, ring)}/64 dev {interface(ring)} nodad",
            f"link set {interface(ring)} up",
        ]
    _ip(spec, SWITCH, ports)
    _ip(spec, host, own)


def unplug(spec: LabSpec, host: str) -> None:
    """Take a host off the network at once: what it still sends or holds reaches nobody."""
    _ip(spec, SWITCH, [f"link set {port(host, ring)} down" for ring in spec.rings_of(host)])


def remove_links(spec: LabSpec, host: str) -> None:
    """Take a host's interfaces away, with all addresses: the kernel of a dead node is dead too."""
    _ip(spec, SWITCH, [f"link del {port(host, ring)}" for ring in spec.rings_of(host)])


def apply(spec: LabSpec, faults: Faults) -> None:
    """Make the switch behave as these faults say, and in no other way."""
    switch = NETNS / namespace(spec.name, SWITCH)
    _run(spec, "nsenter", f"--net={switch}", "nft", "-f", "-", script=ruleset(faults))
    cut = set(faults.cut)
    _ip(spec, SWITCH, [
        f"link set {port(host, ring)} {'down' if (host, ring) in cut else 'up'}"
        for host in spec.node_names if host not in faults.off
        for ring in spec.rings_of(host)])


def ruleset(faults: Faults) -> str:
    """Return the nftables script that drops what these faults lose."""
    rules = [f'iifname "{host}-r*" drop' for host in faults.mute]
    rules += [f'oifname "{host}-r*" drop' for host in faults.deaf]
    rules += [f'iifname "{source}-r*" oifname "{target}-r*" drop'
              for source, target in faults.blocked]
    between = f'iifname != "{port(CLIENT, 1)}" oifname != "{port(CLIENT, 1)}"'
    lost = [("", faults.loss), *((kind, faults.heartbeat_loss) for kind in HEARTBEATS)]
    rules += [f"{between} {kind} numgen random mod 100 < {percent} drop"
              for kind, percent in lost if percent]
    table = "bridge faults"
    chain = "\n".join(("type filter hook forward priority 0; policy accept;", *rules))
    return (f"add table {table}\ndelete table {table}\n"
            f"table {table} {{\nchain forward {{\n{chain}\n}}\n}}\n")


def _ip(spec: LabSpec, host: str, commands: Sequence[str]) -> None:
    _run(spec, "ip", "-n", namespace(spec.name, host), "-batch", "-", script="\n".join(commands))


def _run(spec: LabSpec, *argv: str, script: str) -> None:
    Cgroup.of_lab(spec.name).below(SWITCH).run(*argv, script=script + "\n")
