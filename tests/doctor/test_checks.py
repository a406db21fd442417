"""Every check finds what it is there for, and nothing on a healthy node."""

import inspect
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hamgr.core.records import Voters
from hamgr.core.types import SECOND
from hamgr.doctor import registry
from hamgr.doctor.facts import (
    AgentHome,
    Clock,
    ConfigFile,
    Disk,
    Ensemble,
    Facts,
    KeyFile,
    Managers,
    Misfit,
    Missing,
    Network,
    Server,
    ServiceUnits,
    Units,
    VipPlace,
    WallClocks,
    WatchdogDevice,
)
from hamgr.doctor.finding import Finding, Severity, ok, unknown, warning
from hamgr.doctor.network import BEYOND
from hamgr.doctor.registry import CHECKS, examine, name_of, verdict
from tests.cli import cluster
from tests.cli.cluster import peer, plan, snapshot
from tests.doctor.healthy import (
    NET,
    RING2,
    SERVERS,
    agent,
    ensemble,
    facts,
    fence_devices,
    here,
    link,
    network,
    process,
    resource_agents,
    server,
    service_unit,
    shared,
    watchdog,
)

OK, NOTE, WARNING, UNKNOWN, FAULT = Severity
KEY, NEW = cluster.KEY, "9d00aa31"
FAR = (31, 31)


def view(**changes: Any) -> Any:
    return agent(snapshot=snapshot(**changes))


def loss(lost: int, **changes: Any) -> Any:
    counted = {"heard.n1.0": 600 - lost, "lost.n1.0": lost, "heard.n1.1": 600, "heard.n3.0": 20,
               "lost.n3.0": 20}
    return agent(counters={"rings_last_minute": counted}, **changes)


def misfit(key: str, text: str, *, severe: bool = True) -> dict[str, Any]:
    return {"resource_agents": resource_agents(Misfit(key=key, text=text, severe=severe))}


def device(**changes: Any) -> dict[str, Any]:
    return {"fence_devices": fence_devices(**changes)}


def units(**changes: Any) -> dict[str, Any]:
    return {"service_units": ServiceUnits(units=(service_unit(**changes),))}


def voters(*names: str) -> Any:
    return view(plan=replace(plan(), voters=Voters(number=1, names=names)))


def keys(n1: tuple[str, ...], n2: tuple[str, ...], n3: tuple[str, ...], **changes: Any) -> Any:
    return agent(keys={"n1": n1, "n2": n2, "n3": n3}, **changes)


def links(*changed: Any) -> Network:
    return network(links=(*changed, *(one for one in network().links
                                      if one.name not in {other.name for other in changed})))


OWN_SUBNET = {f"10.{ring}.0.{host}": f"10.{ring}.0.12" for ring in (0, 1) for host in (11, 13)}
ASTRAY = {**OWN_SUBNET, "10.1.0.11": "10.0.0.12"}

CASES: list[tuple[str, dict[str, Any], Severity, str, str]] = [
    # check, what is changed, how bad, where, words
    ("configuration", {"config": ConfigFile(path="F", faults=("cluster.name: is missing",))},
     FAULT, "F", "cluster.name: is missing"),
    ("configuration", {"config": ConfigFile(path="F", warnings=("node: two voters",))},
     WARNING, "F", "node: two voters"),
    ("configuration in use", {"agent": process(config_digest="fedc")}, WARNING, "n2",
     "the agent goes by another configuration than the file"),
    ("agent answers", {"agent": replace(process(why="cannot remove leftovers"), snapshot=None)},
     FAULT, "n2", "has no engine yet: cannot remove leftovers"),
    ("configuration in use", {"agent": process(config_refused="there is no interface ring1")},
     FAULT, "n2", "cannot use the configuration that is applied, and goes on with the one before"),
    ("agent answers", {"agent": view(peers=(peer("n1", config="fedc"), peer("n3")))},
     FAULT, "n1", "another configuration"),
    ("key file", {"key": KeyFile(path="K", fault="others may read it")}, FAULT, "K",
     "cannot be used: others may read it"),
    ("key file", {"key": KeyFile(path="K", keys=(NEW, KEY))}, NOTE, "K",
     f"{NEW} signs, {KEY} is accepted too"),
    ("key in use", {"key": KeyFile(path="K", keys=(NEW,))}, WARNING, "K",
     f"has key {NEW}, and the agent uses key {KEY}"),
    ("key everywhere", {"agent": agent(counters={"dropped_last_minute": {"key.n3": 120}})},
     FAULT, "n3", "120 of its heartbeats in the last minute were signed with a key that this node"),
    ("key everywhere", {"agent": keys((NEW, KEY), (NEW, KEY), (KEY,))}, FAULT, "n3",
     f"lacks key {NEW}, which signs on n2, n1"),
    ("key everywhere", {"agent": keys((KEY, NEW), (KEY,), (KEY,))}, NOTE, "every node",
     f"n1 uses keys {KEY} and {NEW}"),
    ("voters", {"agent": voters("n1", "n2")}, WARNING, "cluster", "through ZooKeeper alone"),
    ("voters", {"agent": voters("n1", "n2", "n3", "n4")}, NOTE, "cluster",
     "survive no more losses than 3"),
    ("rings", {"agent": view(peers=(peer("n1"), peer("n3", heard_ago=9 * SECOND)))}, FAULT, "n3",
     "not heard for 9.0 s on any ring"),
    ("rings", {"agent": view(peers=(peer("n1"),))}, FAULT, "n3", "never heard on any ring"),
    ("rings", {"agent": view(peers=(peer("n1", rings_ago=(31, 7 * SECOND)), peer("n3")))}, FAULT,
     "n1, ring 2", "not heard for 7.0 s on this ring"),
    ("rings", {"agent": view(peers=(peer("n1", rings_ago=(31,)), peer("n3")))}, FAULT,
     "n1, ring 2", "never heard on this ring"),
    ("rings", {"agent": agent(rings={f"n{n}": (f"10.0.0.{n}",) for n in (1, 2, 3)})}, NOTE,
     "cluster", "one ring"),
    ("loss", {"agent": loss(60)}, FAULT, "n1, ring 1", "60 of 600 heartbeats from there"),
    ("loss", {"agent": loss(12)}, WARNING, "n1, ring 1", "(2.0%)"),
    ("loss", {"agent": loss(1)}, NOTE, "n1, ring 1", "(0.2%)"),
    ("ring links", {"network": network(links=())}, FAULT, "ring 1, 10.0.0.12",
     "no interface of this node has this address"),
    ("ring links", {"network": links(link(RING2, "10.1.0.12/24", fault="eth1 has no carrier"))},
     FAULT, "ring 2, 10.1.0.12", "eth1 has no carrier"),
    ("ring links", {"network": links(link(NET, "10.0.0.12/24", mtu=1279))}, FAULT,
     "ring 1, 10.0.0.12", "eth0 has an MTU of 1279"),
    ("ring routes", {"network": network(sources={})}, FAULT, "n1, ring 1", "no route to 10.0.0.11"),
    ("ring routes", {"network": network(sources=ASTRAY)}, WARNING, "n1, ring 2",
     "leaves by eth0, not by eth1"),
    ("ring routes", {"network": replace(links(link(RING2, "10.1.0.12/24",
                                                   settings={"rp_filter": 1})), sources=ASTRAY)},
     FAULT, "n1, ring 2", "dropped on eth1, whose rp_filter is 1"),
    ("ring routes", {"network": links(link(NET, "10.0.0.12/32"))}, WARNING, "n1, ring 1",
     "a router is on the way"),
    ("vip links", {"network": network(vips=(VipPlace(address="10.0.0.100/24", interface=""),))},
     FAULT, "10.0.0.100/24", "no interface of this node has an address in its subnet"),
    ("vip links", {"network": links(link(NET, "10.0.0.12/24", fault="eth0 is down"))}, FAULT,
     "10.0.0.100/24", "eth0 is down, and this address belongs there"),
    ("vip links", {"here": here(('"10.0.0.100/24"', '"2001:db8::9/64"')), "network": replace(
        links(link(NET, "10.0.0.12/24", settings={"disable_ipv6": 1})),
        vips=(VipPlace(address="2001:db8::9/64", interface=NET),))}, FAULT, "2001:db8::9/64",
     "IPv6 is turned off on eth0"),
    ("arp", {"network": links(link(NET, "10.0.0.12/24", settings={"arp_ignore": 8}))}, FAULT, NET,
     "arp_ignore is 8: this node answers no ARP"),
    ("arp", {"network": shared(arp_announce=2)}, WARNING, NET,
     "shares a network with eth1, and arp_ignore is 0"),
    ("arp", {"network": shared(arp_ignore=1, arp_announce=1)}, WARNING, NET,
     "arp_announce is below 2"),
    ("reverse path", {"network": shared(rp_filter=1)}, WARNING, NET, "one half is dropped"),
    ("reverse path", {"network": replace(
        links(link(NET, "10.0.0.12/24", settings={"rp_filter": 1})),
        sources={**OWN_SUBNET, BEYOND: "10.1.0.12"})}, NOTE, NET,
     "the default route leaves by eth1"),
    ("nonlocal bind", {"network": network(settings={"ipv6.ip_nonlocal_bind": 1})}, NOTE, "crm",
     "ip_nonlocal_bind is 0 (ipv4)"),
    ("ensemble size", {"here": here((f'"{SERVERS[1]}", "{SERVERS[2]}"', ""))}, WARNING, "ensemble",
     "one server"),
    ("ensemble size", {"here": here((f', "{SERVERS[2]}"', ""))}, WARNING, "ensemble",
     "2 servers survive no more losses than 1"),
    ("servers", {"ensemble": ensemble(Server(name="a:1", fault="Connection refused"))}, FAULT,
     "a:1", "cannot be reached from here: Connection refused"),
    ("servers", {"ensemble": ensemble(Server(name="a:1"))}, FAULT, "a:1", "answers nothing"),
    ("servers", {"ensemble": ensemble(Server(name="a:1", serves=False))}, FAULT, "a:1",
     "serves nobody: it is in no majority"),
    ("servers", {"ensemble": ensemble(Server(name="a:1", forbidden=("srvr",)))}, NOTE, "a:1",
     "whether it serves is not checked"),
    ("servers", {"ensemble": ensemble(server("a:1", "leader", forbidden=("mntr", "conf")))}, NOTE,
     "a:1", "does not answer mntr and conf"),
    ("leader", {"ensemble": ensemble(server(SERVERS[0]))}, FAULT, "ensemble",
     "no server that answers leads"),
    ("leader", {"ensemble": ensemble(*(Server(name=name, serves=False) for name in SERVERS))},
     FAULT, "ensemble", "no server that answers leads"),
    ("leader", {"ensemble": ensemble(server(SERVERS[0], "leader"), server("b:1", "leader"))},
     FAULT, f"{SERVERS[0]}, b:1", "two ensembles"),
    ("leader", {"ensemble": ensemble(server(SERVERS[0], "leader"), server("b:1", "standalone"))},
     FAULT, "b:1", "runs alone"),
    ("latency", {"ensemble": ensemble(server("a:1", "leader", answer_ms=340.0))}, WARNING, "a:1",
     "took 340 ms"),
    ("latency", {"ensemble": ensemble(server("a:1", "leader", answers={
        "srvr": {"Latency min/avg/max": "1/77.7/900"}}))}, WARNING, "a:1", "78 ms on average"),
    ("fsync", {"ensemble": ensemble(server("a:1", "leader", answers={
        "mntr": {"zk_max_fsynctime": "2100"}}))}, WARNING, "a:1", "2100 ms at worst"),
    ("fsync", {"ensemble": ensemble(server("a:1", "leader", answers={
        "mntr": {"zk_fsync_threshold_exceed_count": "3"}}))}, WARNING, "a:1", "3 times more"),
    ("fsync", {"ensemble": ensemble(server("a:1", "leader", answers={
        "mntr": {"zk_avg_fsynctime": "48.0"}}))}, WARNING, "a:1", "takes 48 ms on average"),
    ("fsync", {"ensemble": ensemble(server("a:1", "leader", answers={
        "mntr": {"zk_cnt_fsynctime": "0", "zk_avg_fsynctime": "0.0", "zk_max_fsynctime": "0"}}))},
     WARNING, "a:1", "never calls fsync (forceSync=no)"),
    ("session", {"ensemble": ensemble(server("a:1", "leader", answers={
        "conf": {"minSessionTimeout": "4001"}}))}, NOTE, "a:1", "grants sessions of 4001 to 10000"),
    ("connected", {"agent": view(zookeeper=False, zookeeper_why="not connected")}, FAULT, "n2",
     "the agent is without ZooKeeper: not connected"),
    ("connected", {"agent": replace(view(zookeeper=False, zookeeper_why="not connected"),
                                    zookeeper_trouble="a:1 does not let user hamgr in")}, FAULT,
     "n2", "the agent is without ZooKeeper: a:1 does not let user hamgr in"),
    ("connected", {"agent": view(peers=(peer("n1", revision=32), peer("n3")))}, FAULT, "n2",
     "the agent knows plan 31, and n1 knows plan 32"),
    ("clock rate", {"clock": Clock(slew=-0.083, synchronised=True)}, FAULT, "clock",
     "made to run 8.30 % slow"),
    ("clock rate", {"clock": Clock(slew=0.02, synchronised=True)}, NOTE, "clock", "2.00 % fast"),
    ("clock rate", {"clock": Clock(slew=0.0, synchronised=False)}, NOTE, "clock",
     "not synchronised"),
    ("wall clock", {"wall_clocks": WallClocks(ahead={"n1": -3600.0})}, NOTE, "n1",
     "3600.0 s behind this node's; no lease rests on it"),
    ("managed elsewhere", {"managers": Managers(processes={"keepalived": 99})}, WARNING,
     "keepalived", "runs here (process 99)"),
    ("managed elsewhere", {"managers": Managers(networkd={NET: ""})}, WARNING, NET,
     "systemd-networkd manages it"),
    ("managed elsewhere", {"managers": Managers(networkmanager=(RING2,))}, WARNING, RING2,
     "NetworkManager manages it"),
    ("real time", {"agent": process(realtime="ordinary (Operation not permitted)")}, WARNING,
     "agent", "no real-time priority: ordinary (Operation not permitted)"),
    ("real time", {"agent": process(memory_locked=False)}, WARNING, "agent", "not locked"),
    ("watchdog", {"watchdog": watchdog(there=False)}, FAULT, "/dev/watchdog", "is not there"),
    ("watchdog", {"watchdog": watchdog(nowayout=True)}, FAULT, "/dev/watchdog", "nowayout"),
    ("watchdog", {"watchdog": watchdog(holder="systemd", holder_pid=1, ours=False)}, FAULT,
     "/dev/watchdog", "is held by systemd"),
    ("watchdog", {"watchdog": watchdog(holder="wd_keepalive", ours=False)}, FAULT,
     "/dev/watchdog", "is held by wd_keepalive (process 77)"),
    ("watchdog", {"watchdog": watchdog(holder="", holder_pid=0, ours=False, counts=False,
                                       trouble="cannot be opened: Device or resource busy")},
     FAULT, "/dev/watchdog", "cannot be opened: Device or resource busy; the agent tries again"),
    ("watchdog", {"watchdog": watchdog(holder="", holder_pid=0, ours=False)}, WARNING,
     "/dev/watchdog", "counts, and nobody feeds it"),
    ("watchdog", {"watchdog": watchdog(identity="Software Watchdog")}, NOTE, "/dev/watchdog",
     "not one whose kernel does"),
    ("watchdog", {"watchdog": WatchdogDevice(device="")}, NOTE, "watchdog", "none is configured"),
    ("switch", {"agent": process(switch_alive=False)}, FAULT, "switch", "no dead-man's switch"),
    ("switch", {"agent": process(switch_ends_with_us=True)}, WARNING, "switch",
     "runs in the control group of hamgr.service"),
    ("units enabled", {"units": Units(enabled={"hamgr.service": "disabled"})}, WARNING,
     "hamgr.service", "is disabled"),
    ("units enabled", {"units": Units(enabled={"hamgr.service": ""})}, WARNING, "hamgr.service",
     "not known to systemd"),
    ("units enabled", {"units": Units(enabled={"hamgr.service": "enabled-runtime"})}, WARNING,
     "hamgr.service", "is enabled-runtime: after a reboot it does not start"),
    ("started by hamgr alone", units(state="enabled", wanted_by=("multi-user.target",)), WARNING,
     "crm: app", "app.service is enabled"),
    ("started by hamgr alone", units(state="static", wanted_by=("other.service",)), WARNING,
     "crm: app", "app.service is wanted by other.service"),
    ("started by hamgr alone", units(triggered_by=("app.socket",)), WARNING, "crm: app",
     "app.socket starts app.service"),
    ("started by hamgr alone", units(load="masked"), FAULT, "crm: app",
     "its unit app.service is masked"),
    ("started by hamgr alone", units(load="not-found"), FAULT, "crm: app", "is not-found"),
    ("started by hamgr alone", units(load=""), FAULT, "crm: app", "is not known to systemd"),
    ("started by hamgr alone", units(load="bad-setting"), FAULT, "crm: app", "is bad-setting"),
    ("fits its agent", misfit("parameters.prot", "it has no such parameter"), FAULT, "crm: web",
     "parameters.prot: it has no such parameter"),
    ("fits its agent", misfit("agent", "it is not installed here"), FAULT, "crm: web",
     "agent: it is not installed"),
    ("fence devices fit", device(misfits=(Misfit(key="options.ipp", text="no such option"),)),
     FAULT, "ipmi-n1", "options.ipp: no such option"),
    ("fence devices fit", device(secrets=("password: /etc/x: cannot be read",)), FAULT, "ipmi-n1",
     "password: /etc/x: cannot be read"),
    ("fence devices answer", device(refusal="Connection timed out"), FAULT, "ipmi-n1",
     "does not answer this node: Connection timed out"),
    ("fence devices answer", device(powers={}, silences={"n1": "no such plug"}), FAULT, "ipmi-n1",
     "does not tell whether n1 is on: no such plug"),
    ("fence devices answer", device(asked=False), UNKNOWN, "ipmi-n1", "was not asked"),
    ("fence devices are wired", device(powers={"n1": "off"}), FAULT, "ipmi-n1",
     "says that n1 is off, and its heartbeats are heard"),
    ("fence devices are wired", device(powers={"n2": "off"}), FAULT, "ipmi-n1",
     "says that n2 is off, which is this node"),
    ("fits its agent", misfit("start", "a timeout is short", severe=False), WARNING, "crm: web",
     "start: a timeout is short"),
    ("state directory", {"disk": Disk(path="S", free=9 << 20)}, WARNING, "S", "9 MiB are free"),
    ("state directory", {"disk": Disk(path="S", free=4096)}, FAULT, "S", "4 KiB are free"),
    ("state directory", {"disk": Disk(path="S", free=1 << 30, read_only=True)}, FAULT, "S",
     "read-only"),
]


def found(changes: dict[str, Any], check: str) -> list[Finding]:
    return [one for one in examine(facts(**changes)) if one.check == check]


@pytest.mark.parametrize(("check", "changes", "severity", "where", "words"), CASES,
                         ids=[f"{case[0]}: {case[4][:40]}" for case in CASES])
def test_what_is_wrong_is_found_with_its_place_and_remedy(
        check: str, changes: dict[str, Any], severity: Severity, where: str, words: str) -> None:
    bad = [one for one in found(changes, check) if one.severity is not OK]
    matching = [one for one in bad if one.severity is severity and one.where == where
                and words in one.what]
    assert matching, f"not among {bad}"
    assert matching[0].remedy or severity is NOTE
    assert verdict(bad) is severity, "nothing worse is said of it"


def test_on_a_healthy_node_everything_is_ok() -> None:
    assert [one for one in examine(facts()) if one.severity is not OK] == []


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_every_check_has_a_good_and_a_bad_case_and_says_what_it_is_for(
        check: registry.Check) -> None:
    assert name_of(check) in {case[0] for case in CASES}
    assert check.__doc__
    assert {*inspect.signature(check).parameters} <= {*Facts.__struct_fields__}


@pytest.mark.parametrize("changes", [
    {"home": AgentHome(unit="")},
    {"managers": Managers(networkd={NET: "static", "eth7": ""}, networkmanager=("eth7",))},
    {"network": shared(arp_ignore=1, arp_announce=2)},
    {"network": shared(arp_filter=1, arp_announce=2)},
    {"ensemble": Ensemble(servers=(server("a:1", "standalone"),))},
    {"network": network(settings={}), "here": here(("[[group.crm.service]]\n", "[group.b]\n"
     'nodes = ["n1"]\nvips = ["10.0.0.101/24"]\n[[group.b.service]]\n'))},
    {"agent": loss(60, snapshot=snapshot(peers=(peer("n1", rings_ago=(9 * SECOND, 31)),
                                                peer("n3"))))},
    {"agent": replace(process(started_ago_s=1.0), snapshot=snapshot(zookeeper=False))},
    {"units": Units(enabled={"hamgr-deadman.socket": "static"})},
    units(state="linked"), {"service_units": ServiceUnits()},
], ids=["a switch without systemd", "networkd elsewhere", "arp is set", "arp_filter", "standalone",
        "a group of others", "loss of a silent ring", "just started", "enabled by another unit",
        "linked and not enabled", "no units"])
def test_what_is_well_is_not_complained_of(changes: dict[str, Any]) -> None:
    checks = {"switch", "managed elsewhere", "arp", "leader", "nonlocal bind", "loss", "connected",
              "units enabled", "started by hamgr alone"}
    assert [one for one in examine(facts(**changes))
            if one.check in checks and one.severity is not OK] == []


def test_in_a_large_cluster_nodes_without_a_vote_need_not_hear_each_other() -> None:
    nodes = tuple(msgspec.structs.replace(cluster.SPEC.nodes[0], name=f"n{n}", voter=n > 3)
                  for n in range(1, 10))
    large = replace(agent(), spec=replace(cluster.SPEC, nodes=nodes),
                    snapshot=snapshot(plan=None, peers=(peer("n1"),)))
    told = {one.where: one.severity for one in found({"agent": large}, "rings")}
    assert (told["n3"], told["n4"]) == (NOTE, FAULT)


@pytest.mark.parametrize(("missing", "checks"), [
    ("agent", {"configuration in use", "agent answers", "key in use", "key everywhere", "voters",
               "rings", "loss",
               "connected", "real time", "switch", "fence devices are wired"}),
    ("network", {"ring links", "ring routes", "vip links", "arp", "reverse path",
                 "nonlocal bind", "managed elsewhere"}),
    ("ensemble", {"servers", "leader", "latency", "fsync", "session"}),
    ("disk", {"state directory"}), ("clock", {"clock rate"})])
def test_what_cannot_be_known_is_said_and_the_rest_is_checked(
        missing: str, checks: set[str]) -> None:
    findings = examine(facts(**{missing: Missing("nobody answers")}))
    unchecked = {one.check for one in findings if one.severity is UNKNOWN}
    assert unchecked == checks
    assert {one.what for one in findings if one.severity is UNKNOWN} == {
        "not checked: nobody answers"}
    assert {one.severity for one in findings if one.check not in checks} == {OK}
    assert verdict(findings) is UNKNOWN


def test_what_is_only_good_to_know_is_no_gap() -> None:
    findings = examine(facts(units=Missing("no systemd", matters=False)))
    assert [(one.check, one.what) for one in findings if one.severity is NOTE] == [
        ("units enabled", "not checked: no systemd")]
    assert verdict(findings) is NOTE


def test_the_verdict_is_the_worst_and_a_gap_is_worse_than_a_warning() -> None:
    assert verdict([]) is OK
    assert verdict([ok("a", "b"), warning("a", "b", "c"), unknown("a", "b")]) is UNKNOWN
    assert verdict([unknown("a", "b"), found({"disk": Disk(path="S", free=0)},
                                             "state directory")[0]]) is FAULT


@pytest.mark.parametrize(("check", "settings", "remedy"), [
    ("arp", {"arp_ignore": 8}, "`sysctl net.ipv4.conf.bond0/20.arp_ignore=1`"),
    ("reverse path", {"rp_filter": 1}, "`sysctl net.ipv4.conf.bond0/20.rp_filter=2`"),
])
def test_a_remedy_for_a_vlan_is_one_that_sysctl_takes(
        check: str, settings: dict[str, int], remedy: str) -> None:
    """A dot in the name of an interface is a slash there (sysctl(8))."""
    vlan = network(
        links=(link("bond0.20", "10.0.0.12/24", settings=settings), link(RING2, "10.1.0.12/24")),
        vips=(VipPlace(address="10.0.0.100/24", interface="bond0.20"),),
        sources={**OWN_SUBNET, BEYOND: "10.1.0.12"})
    assert any(remedy in one.remedy for one in found({"network": vlan}, check))
