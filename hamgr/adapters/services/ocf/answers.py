"""What the shims answer: the commands of Pacemaker that resource agents call, served by hamgr.

Served is what the agents of Debian 12 use, spelt as Pacemaker 2.1.5 spells it (its tools' --help
and output); everything else is an error in words, never a silent success. Exit statuses are those
of Pacemaker's crm_exit_t.
"""

import re
from collections.abc import Callable
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from hamgr.adapters.services.ocf import options
from hamgr.adapters.services.ocf.agent import instance
from hamgr.adapters.services.ocf.attributes import (
    CLUSTER,
    INFINITY,
    SCORE_PREFIX,
    AttributeRefused,
    Attributes,
    Lifetime,
)
from hamgr.adapters.services.ocf.crm_mon import Agents, xml
from hamgr.adapters.services.ocf.environment import FEATURE_SET
from hamgr.adapters.services.ocf.peers import Peers, node_id
from hamgr.core.types import NodeName

OK, UNSUPPORTED, USAGE, NO_SUCH = 0, 3, 64, 105
"""CRM_EX_OK, _UNIMPLEMENT_FEATURE, _USAGE, _NOSUCH."""
VERSION = "2.1.5"
"""Version of Pacemaker that is answered for: ocf_local_nodename asks crm_node above 1.1.8 only,
and takes `uname -n` otherwise, which need not be the node's name."""

ATTRIBUTE = options.table(
    "name=,n,attr-name node=,N,uname,U lifetime=,l type=,t update=,v,attr-value "
    "query,G,get-value delete,D,delete-attr default=,d promotion?,p set-name=,s id=,i,attr-id "
    "resource=,r utilization,z pattern=,P quiet,q,Q verbose,V version,$")
UPDATER = options.table(
    "name=,n update=,U,v,update-both,B query,Q delete,D node=,N all,A delay=,d set=,s,S "
    "lifetime=,l private,p quiet,q verbose,V version,$")
NODE = options.table("name,n list,l partition,p quorum,q cluster-id,i name-for-id=,N quiet,Q "
                      "verbose,V version,$")
MON = options.table("one-shot,1 as-xml,X inactive,r output-as= quiet,Q verbose,V version,$")
RESOURCE = options.table("resource=,r locate,W ban,B node=,N quiet,Q force,f verbose,V version,$")
CIBADMIN = options.table("query,Q xpath=,A verbose,V version,$")
_NVPAIR = re.compile(r"//nvpair\[@name=(['\"])(?P<name>[^'\"]+)\1\]$")


class Answer(NamedTuple):
    """What a command prints, and its exit status."""

    code: int = OK
    out: str = ""
    err: str = ""


class Asked(NamedTuple):
    """A command's options: the last of each counts, as in GLib."""

    given: dict[str, str]
    resource: str
    """OCF_RESOURCE_INSTANCE of whoever asks."""

    def has(self, key: str) -> bool:
        """Whether an option was given."""
        return key in self.given

    def get(self, key: str, default: str = "") -> str:
        """Return an option's value."""
        return self.given.get(key, default)


class Desk:
    """Answers for one node."""

    def __init__(self, node: NodeName, attributes: Attributes, peers: Callable[[], Peers],
                 agents: Callable[[], Agents]) -> None:
        self._node, self._attributes = node, attributes
        self._peers, self._agents = peers, agents
        self.commands: dict[str, Callable[[tuple[str, ...], str], Answer]] = {
            "crm_attribute": self._serve(ATTRIBUTE, self._crm_attribute),
            "crm_master": self._serve(ATTRIBUTE, self._crm_master),
            "attrd_updater": self._serve(UPDATER, self._attrd_updater),
            "crm_node": self._serve(NODE, self._crm_node),
            "crm_mon": self._serve(MON, self._crm_mon),
            "crm_resource": self._serve(RESOURCE, self._crm_resource),
            "cibadmin": self._serve(CIBADMIN, self._cibadmin),
            "pacemakerd": self._serve(options.table("version,$"), self._pacemakerd),
            **{name: self._refuse(instead) for name, instead in _REFUSED.items()}}

    def answer(self, resource: str, name: str, arguments: tuple[str, ...]) -> Answer:
        """Answer one command; whatever is wrong with it is said in words."""
        if name not in self.commands:
            return Answer(USAGE, "", f"{name}: hamgr serves no such command\n")
        try:
            code, out, err = self.commands[name](arguments, resource)
        except options.UsageError as error:
            code, out, err = USAGE, "", f"{error}: hamgr serves no such option"
        except AttributeRefused as error:
            code, out, err = USAGE, "", str(error)
        return Answer(code, out, f"{name}: {err}\n" if err else "")

    def _serve(self, known: options.Table,
               served: Callable[[Asked], Answer]) -> Callable[[tuple[str, ...], str], Answer]:
        def answer(arguments: tuple[str, ...], resource: str) -> Answer:
            asked = Asked({one.key: one.value for one in options.read(known, arguments)}, resource)
            if asked.has("version") and served != self._pacemakerd:
                return self._pacemakerd(asked)
            return served(asked)
        return answer

    def _refuse(self, instead: str) -> Callable[[tuple[str, ...], str], Answer]:
        return lambda arguments, resource: Answer(UNSUPPORTED, "", instead)

    def _crm_master(self, asked: Asked) -> Answer:
        """Is `crm_attribute --promotion`, with the resource as an option of its own."""
        promotion = asked.get("resource") or asked.resource
        return self._crm_attribute(Asked({**asked.given, "promotion": promotion}, asked.resource))

    def _crm_attribute(self, asked: Asked) -> Answer:
        name = _attribute_name(asked)
        if not name or asked.has("pattern") or asked.has("utilization"):
            return Answer(USAGE, "", "hamgr serves --name and --promotion only: it has no "
                                     "patterns, and places by no utilization")
        lifetime, node = self._scope(asked)
        if name == "standby" and asked.has("update"):
            return Answer(UNSUPPORTED, "", "no agent can put a node in standby; "
                                           "use `hamgr standby NODE`")
        if asked.has("update"):
            self._attributes.set(node, name, asked.get("update"), lifetime)
        elif asked.has("delete"):
            self._attributes.set(node, name, None, lifetime)
        else:
            return self._value(asked, node, name, lifetime)
        return Answer()

    def _scope(self, asked: Asked) -> tuple[Lifetime, NodeName]:
        """Return where a value lives, as crm_attribute chooses: promotion scores until a reboot,
        what names neither a node nor a lifetime in the options of the cluster."""
        kind, lifetime = asked.get("type"), asked.get("lifetime")
        node = asked.get("node") or self._node
        if kind == "status" or (not lifetime and asked.has("promotion")):
            return Lifetime.REBOOT, node
        if lifetime in ("reboot", "status"):
            return Lifetime.REBOOT, node
        if kind == "nodes" or lifetime or (not kind and asked.has("node")):
            return Lifetime.FOREVER, node
        return Lifetime.FOREVER, CLUSTER

    def _value(self, asked: Asked, node: NodeName, name: str, lifetime: Lifetime) -> Answer:
        value = self._attributes.get(node, name, lifetime)
        if value is None and not asked.has("default"):
            return Answer(NO_SUCH, "", "Error performing operation: No such device or address")
        shown = asked.get("default") if value is None else value
        scope = {CLUSTER: "crm_config"}.get(
            node, "status" if lifetime is Lifetime.REBOOT else "nodes")
        quiet = asked.has("quiet")
        return Answer(OK, f"{shown}\n" if quiet else f"scope={scope}  name={name} value={shown}\n")

    def _attrd_updater(self, asked: Asked) -> Answer:
        """Values are set at once: a --delay has no effect. So has --private, which keeps a value
        out of Pacemaker's information base, but not from the other nodes."""
        name, node = asked.get("name"), asked.get("node") or self._node
        if not name:
            return Answer(USAGE, "", "--name is needed")
        if asked.has("query"):
            nodes = (self._attributes.holders(name, Lifetime.REBOOT) if asked.has("all")
                     else (node,))
            return self._values(name, nodes)
        if not asked.has("update") and not asked.has("delete"):
            return Answer(USAGE, "", "one of --update, --delete and --query is needed")
        self._attributes.set(node, name, None if asked.has("delete") else asked.get("update"),
                             Lifetime.REBOOT)
        return Answer()

    def _values(self, name: str, nodes: tuple[NodeName, ...]) -> Answer:
        values = [(node, self._attributes.get(node, name, Lifetime.REBOOT)) for node in nodes]
        lines = [f'name="{name}" host="{node}" value="{value}"\n'
                 for node, value in values if value is not None]
        if not lines:
            return Answer(NO_SUCH, "", f"Could not query value of {name}: "
                                       "attribute does not exist")
        return Answer(OK, "".join(lines))

    def _crm_node(self, asked: Asked) -> Answer:
        """Of several questions, the last is answered: `crm_node -l -p` gives the partition."""
        peers, question = self._peers(), next(reversed(asked.given), "")
        match question:
            case "name":
                return Answer(OK, f"{self._node}\n")
            case "list":
                return Answer(OK, "".join(
                    f"{node_id(peers, node)} {node} "
                    f"{'member' if node in peers.online else 'lost'}\n" for node in peers.nodes))
            case "partition":
                return Answer(OK, " ".join(peers.online) + "\n")
            case "quorum":
                return Answer(OK, f"{int(peers.quorate)}\n")
            case "cluster-id":
                return Answer(OK, f"{node_id(peers, self._node)}\n")
            case "name-for-id":
                named = {str(node_id(peers, node)): node for node in peers.nodes}
                if node := named.get(asked.get(question)):
                    return Answer(OK, f"{node}\n")
                return Answer(NO_SUCH, "", f"no node has the id {asked.get(question)}")
        return Answer(USAGE, "", "one of -n, -l, -p, -q, -i and -N is needed")

    def _crm_mon(self, asked: Asked) -> Answer:
        if not asked.has("as-xml") and asked.get("output-as") != "xml":
            return Answer(UNSUPPORTED, "", "hamgr prints XML only; people use `hamgr status`")
        return Answer(OK, xml(self._peers(), self._agents(), "crm_mon -1 --output-as=xml"))

    def _crm_resource(self, asked: Asked) -> Answer:
        name = asked.get("resource") or asked.resource
        if asked.has("ban"):
            # pgsql bans a node whose data is newer than the new primary's, and tries for a day.
            node = asked.get("node") or self._node
            self._attributes.set(node, SCORE_PREFIX + name, f"-{INFINITY}", Lifetime.REBOOT)
            return Answer()
        if asked.has("locate"):
            return self._located(name, asked.has("quiet"))
        return Answer(UNSUPPORTED, "", "hamgr serves --locate and --ban only")

    def _located(self, name: str, quiet: bool) -> Answer:
        replicas = next((self._peers().of(*key) for key in self._agents()
                         if instance(*key) == name.partition(":")[0]), None)
        if replicas is None:
            return Answer(NO_SUCH, "", f"resource {name} is not known")
        if not replicas.active:
            return Answer(OK, "", f"resource {name} is NOT running")
        return Answer(OK, "".join(
            f"{node}\n" if quiet else f"resource {name} is running on: {node} "
            f"{'Promoted' if node in replicas.promoted else ''}\n" for node in replicas.active))

    def _cibadmin(self, asked: Asked) -> Answer:
        """Of the information base, rabbitmq-cluster asks for one attribute of every node."""
        match = _NVPAIR.search(asked.get("xpath"))
        if match is None:
            return Answer(UNSUPPORTED, "", "hamgr has no cluster information base; it serves "
                                           "--query --xpath \"...//nvpair[@name='NAME']\" only")
        name, online = match["name"], self._peers().online
        nodes = self._attributes.holders(name, Lifetime.REBOOT)
        if "@crmd='online'" in asked.get("xpath"):
            nodes = tuple(node for node in nodes if node in online)
        values = [self._attributes.get(node, name, Lifetime.REBOOT) or "" for node in nodes]
        lines = [f"  <nvpair id={quoteattr(f'status-{node}-{name}')} name={quoteattr(name)} "
                 f"value={quoteattr(value)}/>\n" for node, value in zip(nodes, values, strict=True)]
        if not lines:
            return Answer(NO_SUCH, "", "Call cib_query failed (-6): No such device or address")
        return Answer(OK, "<xpath-query>\n" + "".join(lines) + "</xpath-query>\n")

    def _pacemakerd(self, asked: Asked) -> Answer:
        if not asked.has("version"):
            return Answer(UNSUPPORTED, "", "hamgr runs instead of Pacemaker")
        return Answer(OK, f"Pacemaker {VERSION}\n(answered by hamgr, with feature set "
                          f"{FEATURE_SET})\n")


_REFUSED = {
    "crm_failcount": "hamgr counts failures itself; see `hamgr status`",
    "crm_simulate": "hamgr answers no simulations; see `hamgr simulate`",
    "crm_standby": "no agent can put a node in standby; use `hamgr standby NODE`",
    "crm_ticket": "hamgr knows no tickets",
    "stonith_admin": "no agent can fence a node: hamgr does, as its groups are configured",
}


def _attribute_name(asked: Asked) -> str:
    """Return the attribute that is meant: for promotion scores, of the resource that asks."""
    if asked.has("promotion"):
        resource = asked.get("promotion") or asked.resource
        return SCORE_PREFIX + resource.partition(":")[0] if resource else ""
    return asked.get("name")
