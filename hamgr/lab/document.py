"""The configuration of a lab's cluster: one file and one key for all its agents."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from hamgr.core.types import MILLISECOND
from hamgr.lab import network, zookeeper
from hamgr.lab.spec import GROUP, VIP, VIP6, LabSpec, address

FILE = "hamgr.toml"
KEY = "cluster.key"


def write(spec: LabSpec, directory: Path) -> None:
    """Write file and key into a lab's directory."""
    (directory / FILE).write_text(text(spec, directory))
    descriptor = os.open(directory / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as key:
        key.write(secrets.token_hex(32) + "\n")


def text(spec: LabSpec, directory: Path) -> str:
    """Return the TOML document."""
    servers = _listed(f"{address(node, 1)}:{zookeeper.PORT}" for node in spec.servers)
    nodes = "".join(
        f"[node.{node}]\naddresses = "
        f"{_listed(address(node, ring) for ring in spec.rings_of(node))}\n\n"
        for node in spec.node_names)
    return (
        f'[cluster]\nname = "{spec.name}"\nzookeeper = {servers}\n'
        f'key_file = "{directory / KEY}"\n\n'
        f'[heartbeat]\ninterval = "{spec.interval / MILLISECOND:g}ms"\n\n'
        f"{nodes}"
        f"[group.{GROUP}]\nnodes = {_listed(spec.node_names)}\n"
        f'vips = ["{VIP}/24", '
        f'{{ address = "{VIP6}/64", interface = "{network.interface(1)}" }}]\n')


def _listed(values: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
