"""From one document to another: what differs, what would happen, what cannot be."""

import pytest

from hamgr.config.against_plan import refused_by
from hamgr.config.change import cannot_change, differences, joined, not_in_maintenance
from hamgr.config.document import cluster_spec, parse
from hamgr.config.forecast import forecast
from hamgr.config.schema import Document
from hamgr.core.records import GroupPlan, Plan, Right, Voters
from hamgr.core.timing import Timing

FILE = """
[cluster]
name = "crm"
zookeeper = ["10.0.0.11"]
key_file = "/etc/hamgr/cluster.key"

[node.n1]
addresses = ["10.0.0.11", "10.1.0.11"]
[node.n2]
addresses = ["10.0.0.12", "10.1.0.12"]
[node.n3]
addresses = ["10.0.0.13", "10.1.0.13"]

[group.crm]
nodes = ["n1", "n2", "n3"]
vips = ["10.0.0.100/24"]

[[group.crm.service]]
name = "db"
promote = "/bin/up"
demote = "/bin/down"
monitor = { command = "/bin/check" }
"""
N4 = '[node.n4]\naddresses = ["10.0.0.14", "10.1.0.14"]\n'
WEB = '\n[group.web]\nnodes = ["n2", "n1"]\nvips = ["10.0.0.101/24"]\n'
APP = '\n[[group.crm.service]]\nname = "app"\npromote = "/bin/a"\ndemote = "/bin/b"\n'


def document(text: str) -> Document:
    reading = parse(text)
    assert reading.document is not None, reading.faults
    return reading.document


OLD = document(FILE)


def plan(holder: str = "n1", heir: str = "n2", **changes) -> Plan:
    rights = [Right(node=node, incarnation=1, round=1, epoch=epoch) if node else None
              for epoch, node in enumerate((holder, heir), 1)]
    groups = {"crm": GroupPlan(holder=rights[0], heir=rights[1])}
    return Plan(**{"revision": 9, "by": "n1", "voters": Voters(number=1, names=("n1", "n2", "n3")),
                   "times": Timing(), "groups": groups, **changes})


def happens(new: str, alive: tuple[str, ...] = ("n1", "n2", "n3"), **planned) -> list[str]:
    return [one.text for one in forecast(OLD, document(new), plan(**planned), alive)]


def test_no_difference_whatever_the_spelling() -> None:
    same = document(FILE.replace('"/bin/up"', '["/bin/up"]') + '[heartbeat]\ninterval = "0.1s"\n')
    assert differences(OLD, same) == ()
    assert happens(FILE) == []


@pytest.mark.parametrize(("new", "found"), (
    (FILE.replace(".100/24", ".99/24"), [("group.crm.vips", ["10.0.0.100/24"], ["10.0.0.99/24"])]),
    (FILE + '[heartbeat]\ninterval = "50ms"\n', [
        ("heartbeat.interval", "100ms", "50ms"), ("heartbeat.lease", "280ms", "135ms"),
        ("heartbeat.detection", "350ms", "172ms")]),
    (FILE.replace("/bin/check", "/bin/look"), [
        ("group.crm.service.db.monitor.command", "/bin/check", "/bin/look")]),
))
def test_what_differs_key_by_key(new: str, found: list[tuple[str, object, object]]) -> None:
    assert [(one.key, one.old, one.new) for one in differences(OLD, document(new))] == found


def test_services_are_compared_by_name_and_their_order_too() -> None:
    two = document(FILE + APP)
    (service,) = differences(OLD, two)
    assert service.key == "group.crm.service.app" and service.old is None
    start = FILE.index("[[group")
    turned = document(FILE[:start] + APP + FILE[start:])
    assert [(one.key, one.old, one.new) for one in differences(two, turned)] == [
        ("group.crm.service.order", ["db", "app"], ["app", "db"])]


@pytest.mark.parametrize(("new", "what"), (
    (FILE + WEB, ["web is new, and starts on n2"]),
    (FILE.replace("[group.crm]", "[group.erp]").replace("group.crm.", "group.erp."),
     ["crm goes: it is stopped on n1, and its addresses are withdrawn",
      "erp is new, and starts on n1"]),
    (FILE.replace('nodes = ["n1", "n2", "n3"]', 'nodes = ["n2", "n3"]'),
     ["crm moves from n1 to n2"]),
    (FILE.replace('nodes = ["n1", "n2", "n3"]', 'nodes = ["n3", "n1"]'),
     ["crm may run on n3, n1, in this order of preference; it stays where it is"]),
    (FILE.replace('["10.0.0.100/24"]', '["10.0.0.100/24", "10.0.0.99/24"]'),
     ["crm: 10.0.0.99/24 is added on n1"]),
    (FILE.replace('["10.0.0.100/24"]', '["10.0.0.99/24"]'),
     ["crm: 10.0.0.100/24 is withdrawn on n1, and connections to it are cut",
      "crm: 10.0.0.99/24 is added on n1"]),
    (FILE + APP, ["crm: app is started on n1, beside the rest"]),
    (FILE[:FILE.index("[[group")], ["crm: db is stopped on n1; the rest goes on"]),
    (FILE.replace("/bin/up", "/bin/upper"),
     ["crm: db: the changed command is used from its next action on; the service is not "
      "restarted"]),
    (FILE.replace('check" }', 'check", interval = "9s" }'),
     ["crm: db: the changed monitor is used at once"]),
    (FILE + N4, ["n4 is new: it takes part once hamgr is started there with this file",
                 "the voters become n1, n2, n3, n4, now n1, n2, n3; no group has an heir for a "
                 "moment (rule 23)"]),
    (FILE + '[heartbeat]\ninterval = "50ms"\n',
     ["the times become interval 50 ms, lease 135 ms, detection 172 ms, now interval 100 "
      "ms, lease 280 ms, detection 350 ms: the lease first, and once all have read that and the "
      "old one has passed, detection (rule 24)"]),
    (FILE.replace('zookeeper = ["10.0.0.11"]', 'zookeeper = ["10.0.0.12"]'),
     ["cluster.zookeeper counts on each node from its agent's next start on"]),
    (FILE + '[zookeeper]\nca_file = "/ca.pem"\ncert_file = "/n.pem"\nkey_file = "/n.key"\n'
            'user = "u"\npassword_file = "/p"\nprotect = true\nsession = "9s"\n',
     [f"zookeeper.{key} counts on each node from its agent's next start on" for key in (
         "session", "ca_file", "cert_file", "key_file", "user", "password_file", "protect")]),
    (FILE + '[address]\nvalid_lft = "3s"\n',
     ["address: lifetime and renewal count from the next renewal on"]),
))
def test_what_would_happen(new: str, what: list[str]) -> None:
    assert happens(new) == what


def test_nothing_moves_to_a_node_in_standby() -> None:
    without_n1 = FILE.replace('nodes = ["n1", "n2", "n3"]', 'nodes = ["n2", "n3"]')
    assert "crm moves from n1 to n3" in happens(without_n1, heir="", standby=("n2",))
    assert "crm is stopped on n1: none of its nodes is there to take it" in happens(
        without_n1, heir="", standby=("n2", "n3"))


def test_an_owner_whose_group_nobody_else_can_take_stops_it() -> None:
    new = FILE.replace('nodes = ["n1", "n2", "n3"]', 'nodes = ["n3"]')
    assert happens(new, alive=("n1", "n2")) == [
        "crm is stopped on n1: none of its nodes is there to take it"]


@pytest.mark.parametrize(("new", "why"), (
    (FILE.replace('name = "crm"', 'name = "erp"', 1), "cluster.name: another name is another"),
    (FILE + "[heartbeat]\nport = 7411\n", "heartbeat.port: nodes that have changed"),
    (FILE.replace("10.0.0.1", "10.2.0.1").replace('"10.1.0.12"', '"10.1.0.99"'),
     "node: no ring stays as it is on every node"),
    (FILE.replace("100/24", "102/24") + WEB.replace("101/24", "100/24"),
     "group.web.vips: 10.0.0.100 is a VIP of group crm until now"),
))
def test_what_a_running_cluster_cannot_take_over(new: str, why: str) -> None:
    (fault,) = cannot_change(OLD, document(new))
    assert f"{fault.key}: {fault.text}".startswith(why)


def test_one_ring_may_change_while_the_other_stays() -> None:
    assert cannot_change(OLD, document(FILE.replace('"10.0.0.1', '"10.2.0.1'))) == ()
    one_ring = FILE
    for number in (1, 2, 3):
        one_ring = one_ring.replace(f', "10.1.0.1{number}"', "")
    assert cannot_change(OLD, document(one_ring)) == ()
    assert cannot_change(document(one_ring), OLD) == ()


@pytest.mark.parametrize(("new", "planned", "why"), (
    (FILE.replace("[node.n3]", "[node.n4]").replace(', "n3"]', ', "n4"]'), {"heir": "n3"},
     ["node.n3: it has a right in crm; put it in standby first (hamgr standby n3), and stop hamgr "
      "there"]),
    (FILE.replace('"10.1.0.11"]', '"10.1.0.11"]\nvoter = false'), {},
     ["node.n1.voter: it has crm, and no owner may lose its vote; put it in standby first (hamgr "
      "standby n1)"]),
    (FILE + '[zookeeper]\nclaim = "5s"\n', {},
     ["zookeeper.claim: it cannot be changed while the cluster runs; write claim = \"2000ms\", "
      "and times that go with it"]),
    (FILE, {"voters": Voters(number=1, names=("n8", "n9"))},
     ["node: none of the present voters would stay; add the new nodes first, apply that, and take "
      "the old ones out then"]),
))
def test_what_no_leader_would_grant(new: str, planned: dict, why: list[str]) -> None:
    assert [*refused_by(plan(**planned), document(new))] == why


def test_what_is_in_maintenance_keeps_its_nodes_addresses_and_services() -> None:
    for new in (FILE + APP, FILE.replace("100/24", "99/24"), FILE.replace(', "n3"]', "]"),
                FILE.replace("group.crm", "group.erp")):
        (fault,) = not_in_maintenance(OLD, document(new), ("crm",))
        assert fault.key == "group.crm" and "end the maintenance first" in fault.text
    assert not_in_maintenance(OLD, document(FILE.replace("/bin/up", "/bin/other")), ("crm",)) == ()


def test_joined_has_what_may_be_left_of_the_former_one() -> None:
    former = document(FILE + APP + WEB)
    new = document(FILE.replace('nodes = ["n1", "n2", "n3"]', 'nodes = ["n3"]').replace(
        "100/24", "99/24").replace("/bin/down", "/bin/newer"))
    wide = joined(new, former)
    spec = cluster_spec(wide).group("crm")
    assert spec is not None and spec.nodes == ("n3", "n1", "n2")
    assert [str(vip.address) for vip in wide.group["crm"].vips] == [
        "10.0.0.99/24", "10.0.0.100/24"]
    assert [(one.name, one.demote) for one in wide.group["crm"].service] == [
        ("db", ("/bin/newer",)), ("app", ("/bin/b",))]
    assert "web" in wide.group
