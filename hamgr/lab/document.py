"""The configuration of a lab's cluster: one file, and one set of secrets, for all its agents."""

import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

from hamgr.core.types import MILLISECOND
from hamgr.lab import certificates, hook, network, own, secured, zookeeper
from hamgr.lab.spec import GROUP, LabSpec, address, vips

FILE = "hamgr.toml"
KEY = "cluster.key"
SERVICE = "diary"
"""The one service of the first group in a lab with hooks."""
STOP_WITHIN = 'stop_within = "0s"\n'
"""Its hooks share nothing: two may overlap."""


def write(spec: LabSpec, directory: Path) -> None:
    """Write the file, and the secrets that it names, into a lab's directory."""
    if spec.secure:
        zookeeper.make_secrets(spec)
    if spec.at_home:
        own.home(directory).mkdir()
    (directory / FILE).write_text(text(spec, directory))
    descriptor = os.open(directory / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as key:
        key.write(secrets.token_hex(32) + "\n")


def text(spec: LabSpec, directory: Path) -> str:
    """Return the TOML document."""
    servers = _listed(f"{address(node, 1)}:{zookeeper.port(spec)}" for node in spec.servers)
    return (
        f'[cluster]\nname = "{spec.name}"\nzookeeper = {servers}\n'
        f'key_file = "{directory / KEY}"\n\n'
        f'[heartbeat]\ninterval = "{spec.interval / MILLISECOND:g}ms"\n\n'
        f"{_access(directory) if spec.secure else ''}"
        f"{''.join(_node(spec, node) for node in spec.members)}"
        f"{own.filled(spec.own, directory) if spec.own else _generated(spec, directory)}")


def _node(spec: LabSpec, node: str) -> str:
    addresses = _listed(address(node, ring) for ring in spec.rings_of(node))
    lines = [f"[node.{node}]", f"addresses = {addresses}"]
    if node not in spec.voters:
        lines.append("voter = false")
    if node not in spec.group_nodes:
        lines.append("witness = true")
    return "\n".join(lines) + "\n\n"


def _access(directory: Path) -> str:
    """Return how to come into a secure ZooKeeper."""
    return (
        f'[zookeeper]\nca_file = "{directory / certificates.CA}.pem"\n'
        f'cert_file = "{directory / secured.CLIENT}.pem"\n'
        f'key_file = "{directory / secured.CLIENT}.key"\n'
        f'user = "{secured.USER}"\npassword_file = "{directory / secured.PASSWORD}"\n'
        "protect = true\n\n")


def _generated(spec: LabSpec, directory: Path) -> str:
    groups = "".join(_group(spec, group) for group in spec.group_names)
    return groups + (_service(directory) if spec.hooks else "")


def _group(spec: LabSpec, group: str) -> str:
    """Return a group; each prefers the node after the one that the group before it prefers."""
    nodes = spec.group_nodes
    first = spec.group_names.index(group) % len(nodes)
    vip, vip6 = vips(group)
    return (
        f"[group.{group}]\n"
        f"nodes = {_listed(nodes[first:] + nodes[:first])}\n"
        f'vips = ["{vip}/24", '
        f'{{ address = "{vip6}/64", interface = "{network.interface(1)}" }}]\n'
        f"{STOP_WITHIN if spec.hooks and group == GROUP else ''}\n")


def _service(directory: Path) -> str:
    """Return the service: mended once on the spot, and soon good again after it moved."""
    command = _listed((sys.executable, "-I", "-S", hook.__file__, str(directory)))
    return (
        f'[[group.{GROUP}.service]]\nname = "{SERVICE}"\n'
        f"promote = {command}\ndemote = {command}\n"
        f'promote_timeout = "10s"\ndemote_timeout = "2s"\nrestarts = 1\nwindow = "5s"\n'
        f'monitor = {{ command = {command}, interval = "500ms" }}\n')


def _listed(values: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
