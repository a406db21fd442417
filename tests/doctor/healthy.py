"""Facts of a node with which nothing is wrong, and ways to change them: n2 of tests.cli.cluster."""

from typing import Any

from msgspec.structs import replace

from hamgr.agent.facts import AgentStatus
from hamgr.config.document import parse
from hamgr.doctor.facts import (
    AgentHome,
    Clock,
    ConfigFile,
    Disk,
    Ensemble,
    Facts,
    FenceDevice,
    FenceDevices,
    Here,
    KeyFile,
    Link,
    Managers,
    Misfit,
    Network,
    ResourceAgents,
    Server,
    ServiceAgent,
    ServiceUnit,
    ServiceUnits,
    Units,
    VipPlace,
    WallClocks,
    WatchdogDevice,
)
from hamgr.doctor.network import BEYOND
from tests.cli import cluster
from tests.config.files import GOOD, changed

NET, RING2 = "eth0", "eth1"
SETTINGS = {"arp_ignore": 0, "arp_announce": 0, "arp_filter": 0, "rp_filter": 0, "disable_ipv6": 0}
SERVERS = ("10.0.0.11:2181", "10.0.0.12:2181", "10.0.0.13:2181")


def here(*changes: tuple[str, str]) -> Here:
    """n2, by a file with these changes."""
    document = parse(changed(*changes) if changes else GOOD).document
    assert document is not None
    return Here(node="n2", document=document, digest=agent().process.config_digest)


def agent(**changes: Any) -> AgentStatus:
    """An agent on n2 that hears everybody; changes to its answer."""
    status = cluster.status(counters={"rings_last_minute": {
        f"heard.{node}.{ring}": 600 for node in ("n1", "n3") for ring in (0, 1)}})
    process = replace(status.process, config="/etc/hamgr/hamgr.toml",
                      state_dir="/var/lib/hamgr")
    return replace(status, process=process, **changes)


def process(**changes: Any) -> AgentStatus:
    """The same with another process."""
    return replace(agent(), process=replace(agent().process, **changes))


def link(name: str, *addresses: str, **changes: Any) -> Link:
    settings = {**SETTINGS, **changes.pop("settings", {})}
    return Link(**{"name": name, "mtu": 1500, "addresses": addresses, "settings": settings,
                   **changes})


def network(**changes: Any) -> Network:
    """Two rings on two interfaces, each in a subnet of its own."""
    links = (link("lo", "127.0.0.1/8"), link(NET, "10.0.0.12/24"), link(RING2, "10.1.0.12/24"))
    sources = {BEYOND: "10.0.0.12", **{
        f"10.{ring}.0.{host}": f"10.{ring}.0.12" for ring in (0, 1) for host in (11, 13)}}
    return replace(Network(links=links, sources=sources,
                           vips=(VipPlace(address="10.0.0.100/24", interface=NET),),
                           settings={"ipv4.ip_nonlocal_bind": 1, "ipv6.ip_nonlocal_bind": 1}),
                   **changes)


def shared(**settings: int) -> Network:
    """Both interfaces on one network, with these settings on the one that has VIPs."""
    return network(links=(link(NET, "10.0.0.12/24", "10.0.0.100/32", settings=settings),
                          link(RING2, "10.0.0.112/24")))


def server(name: str = SERVERS[0], mode: str = "follower", **changes: Any) -> Server:
    """A server that answers every word."""
    answers = {
        "srvr": {"Mode": mode, "Latency min/avg/max": "0/2.5/40"},
        "mntr": {"zk_cnt_fsynctime": "90", "zk_avg_fsynctime": "3.5", "zk_max_fsynctime": "61",
                 "zk_cnt_sync_process_time": "90"},
        "conf": {"minSessionTimeout": "1000", "maxSessionTimeout": "10000"}}
    for word, values in changes.pop("answers", {}).items():
        answers[word] = {**answers[word], **values}
    return Server(**{"name": name, "answer_ms": 2.0, "answers": answers, **changes})


def ensemble(*servers: Server) -> Ensemble:
    """Three servers, of which these come first."""
    rest = (server(SERVERS[0], "leader"), server(SERVERS[1]), server(SERVERS[2]))
    return Ensemble(servers=(*servers, *rest[len(servers):]))


def service_unit(**changes: Any) -> ServiceUnit:
    return ServiceUnit(**{"group": "crm", "service": "app", "unit": "app.service",
                          "load": "loaded", "state": "disabled", **changes})


def resource_agents(*misfits: Misfit) -> ResourceAgents:
    return ResourceAgents(services=(ServiceAgent(
        group="crm", service="web", agent="ocf:heartbeat:nginx", misfits=misfits),))


def fence_devices(**changes: Any) -> FenceDevices:
    return FenceDevices(devices=(FenceDevice(**{
        "name": "ipmi-n1", "agent": "fence_ipmilan", "powers": {"n1": "on"}, **changes}),))


def watchdog(**changes: Any) -> WatchdogDevice:
    """The chip of a board, held by the agent."""
    return replace(WatchdogDevice(
        device="/dev/watchdog", timeout_s=10, identity="iTCO_wdt", shortest_s=2, longest_s=613,
        counts=True, holder="hamgr", holder_pid=77, ours=True), **changes)


def facts(**changes: Any) -> Facts:
    """Return the facts with some of them exchanged."""
    good = Facts(
        config=ConfigFile(path="/etc/hamgr/hamgr.toml"), here=here(), agent=agent(),
        key=KeyFile(path="/etc/hamgr/cluster.key", keys=(cluster.KEY,)), network=network(),
        ensemble=ensemble(), clock=Clock(slew=0.00002, synchronised=True),
        wall_clocks=WallClocks(ahead={"n1": 0.01, "n3": -0.02}), managers=Managers(),
        service_units=ServiceUnits(units=(service_unit(),)),
        resource_agents=resource_agents(), fence_devices=fence_devices(),
        units=Units(enabled={"hamgr.service": "enabled"}), home=AgentHome(unit="hamgr.service"),
        disk=Disk(path="/var/lib/hamgr", free=1 << 30), watchdog=watchdog())
    return replace(good, **changes)
