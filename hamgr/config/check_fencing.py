"""What fence devices must fulfil: who asks them, whom they cut off, and no secret in the file."""

import re

from hamgr.config.check_services import choice
from hamgr.config.faults import Findings, Path, nearest
from hamgr.config.private import CREDENTIAL, KeyFileError
from hamgr.config.schema import Document, Fence
from hamgr.config.secret import NAMED, read_secret

ACTIONS = {"reboot": "", "off": ""}
PER_HOUR_MIN = 1
_AGENT = re.compile(r"fence_\w+")
_KEY = re.compile(r"\w[\w-]*")
_SECRET = re.compile(r"(.*_)?(pass|passwd|password|passphrase|apikey|api_key|secret|secret_key"
                     r"|access_key|token|key|community|hexadecimal_kg)")
"""What Debian's 85 agents call a secret; `community` is that of SNMP, versions 1 and 2c."""
_SAID = {
    "action": "hamgr says what to do; remove it (what becomes of a node that was cut off is the "
              "key action of the table)",
    "plug": 'write it with its node: nodes = {{ {node} = "{value}" }}',
    "port": 'write it with its node: nodes = {{ {node} = "{value}" }} (the port that a device '
            "listens on is ipport)",
}
"""Options that are no one's to write, and what to do instead."""


def check_fencing(document: Document, findings: Findings) -> None:
    """Note everything that is wrong with the fence devices."""
    for name, fence in document.fence.items():
        path: Path = ("fence", name)
        _program(fence, path, findings)
        _nodes(document, fence, path, findings)
        _options(fence, path, findings)
        _secrets(fence, path, findings)
        _limits(fence, path, findings)
    if document.fencing.max_per_hour < PER_HOUR_MIN:
        findings.fault(("fencing", "max_per_hour"), f"{document.fencing.max_per_hour} would let "
                       "nobody be cut off; write a number from 1")
    _required(document, findings)


def check_secrets(document: Document, findings: Findings) -> None:
    """Note which secrets cannot be used on this machine. Only for a document without a fault."""
    for name, fence in document.fence.items():
        for key, path in fence.secrets.items():
            try:
                read_secret(path)
            except KeyFileError as error:
                findings.fault(("fence", name, "secrets", key), str(error))


def _program(fence: Fence, path: Path, findings: Findings) -> None:
    if findings.rejected((*path, "agent")) or findings.rejected((*path, "command")):
        return
    if fence.agent and fence.command:
        findings.fault(path, "has both agent and command; remove the one that shall not be used")
    elif not (fence.agent or fence.command):
        findings.fault((*path, "agent"), 'is missing; write agent = "fence_ipmilan", or another '
                       "of /usr/sbin/fence_*, or command = [...]")
    elif fence.agent and not _AGENT.fullmatch(fence.agent):
        findings.fault((*path, "agent"), f'"{fence.agent}" is no fence agent; write the name of '
                       'one of /usr/sbin/fence_*, such as "fence_ipmilan", or a program of your '
                       "own as command")


def _nodes(document: Document, fence: Fence, path: Path, findings: Findings) -> None:
    path = (*path, "nodes")
    for name in fence.nodes:
        if name not in document.node and not findings.misses(("node",)):
            close = nearest(name, document.node)
            remedy = f'did you mean "{close}"?' if close else "write a table [node.NAME] for it"
            findings.fault(path, f'"{name}" is not a node that is configured; {remedy}')
    if not fence.nodes and not findings.spoiled(path):
        findings.fault(path, "is empty; name the nodes that this device can cut off")
    plugs = [plug for plug in fence.nodes.values() if plug]
    for plug in dict.fromkeys(plugs):
        if plugs.count(plug) > 1:
            findings.fault(path, f'gives several nodes plug "{plug}": whoever is cut off takes '
                           "the others along; give each its own, as the device calls it")
    if len(fence.nodes) > 1 and not all(fence.nodes.values()):
        findings.warn(path, "names several nodes without a plug for each, so the device cannot "
                      "tell them apart unless it knows them by their names here (nodename); write "
                      'their plugs, such as { n1 = "3", n2 = "4" }, or a table for each')


def _options(fence: Fence, path: Path, findings: Findings) -> None:
    for key, value in fence.options.items():
        here = (*path, "options", key)
        if key in _SAID:
            node = next(iter(fence.nodes), "n1")
            findings.fault(here, _SAID[key].format(node=node, value=value))
        elif _SECRET.fullmatch(key) and value:
            # The value is not repeated: what is wrong is that it can be read.
            findings.fault(here, "is a secret, and this file can be read by many and is copied to "
                           "ZooKeeper; put it into a file that only root may read, write secrets = "
                           f'{{ {key} = "/etc/hamgr/{path[1]}.{key}" }}, and remove it here')
        elif not _KEY.fullmatch(key) or not value.isprintable():
            findings.fault(here, "must be one line, key and value; write the option as the "
                           "agent's --help calls it, with _ for -")


def _secrets(fence: Fence, path: Path, findings: Findings) -> None:
    for key, file in fence.secrets.items():
        here = (*path, "secrets", key)
        if key in fence.options:
            findings.fault(here, "is in options as well; remove it there")
        elif key in _SAID or not _KEY.fullmatch(key):
            findings.fault(here, "is no option that could be a secret; write it as the agent's "
                           "--help calls it, with _ for -")
        elif not file.startswith(("/", CREDENTIAL, NAMED)):
            findings.fault(here, "must say where the secret is, not what it is; write the full "
                           'path of a file, or "credential:NAME" for one that systemd gives the '
                           "agent")


def _limits(fence: Fence, path: Path, findings: Findings) -> None:
    choice(ACTIONS, fence.action, (*path, "action"), findings)
    if fence.level < 1:
        findings.fault((*path, "level"), f"{fence.level} is no level; write a number from 1, which "
                       "is tried first")
    if fence.timeout <= 0:
        findings.fault((*path, "timeout"), 'timeout must be more than 0; write a duration such as '
                       '"60s"')
    if fence.retries < 0:
        findings.fault((*path, "retries"), f"{fence.retries} is negative; write 0 to try once")


def _required(document: Document, findings: Findings) -> None:
    """Whose group needs fencing must be in reach of a device, or nobody takes over from it."""
    if findings.misses(("fence",)) or any(
            findings.spoiled(("fence", name, "nodes")) for name in document.fence):
        return
    reached = {node for fence in document.fence.values() for node in fence.nodes}
    wanted = [name for name, group in document.group.items()
              if group.fencing == "required" and group.mode != "everywhere"]
    for name in wanted:
        bare = [node for node in document.group[name].nodes
                if node not in reached and node in document.node]
        if bare:
            findings.fault(("group", name, "fencing"), f"no fence device cuts off "
                           f"{', '.join(bare)}, so nobody would ever take over from there; write "
                           f'a table [fence.NAME] with nodes = ["{bare[0]}"], or fencing = "lease"')
    for name, group in document.group.items():
        bare = [node for node in group.nodes if node not in reached and node in document.node]
        for here, service in findings.numbered(("group", name, "service"), group.service):
            if service.on_failure == "fence" and bare:
                findings.fault((*here, "on_failure"), f"no fence device cuts off "
                               f"{', '.join(bare)}, so nothing would come of it there; write a "
                               f'table [fence.NAME] with nodes = ["{bare[0]}"], or on_failure = '
                               '"move"')
    if document.fence and not wanted and not findings.misses(("group",)):
        findings.warn(("fence",), "devices are asked where a service cannot be stopped, and no "
                      'group waits for them when a node falls silent; write fencing = "required" '
                      "in those that shall")
