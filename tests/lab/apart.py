"""Agents of a lab that have something of their own: a key file, a disk, a wall clock."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hamgr.lab.document import FILE, KEY
from hamgr.lab.lab import Lab
from hamgr.lab.node import AGENT, Node
from tests.lab.scene import raised

Wrap = Callable[[Node], Sequence[str]]
"""The words before `hamgr agent` on a node: a program that runs what follows it."""
_BOUND = 'mount --bind "$0" "$1" && shift && exec "$@"'
_TMPFS = 'mount -t tmpfs -o "size=$1" tmpfs "$0" && shift && exec "$@"'
_APART = ("unshare", "--mount", "--propagation", "private", "sh", "-c")


@contextmanager
def raised_apart(purpose: str, wrap: Wrap) -> Iterator[Lab]:
    """Raise a lab whose agents are started in a way of their own, and wait until it is settled."""
    with raised(purpose, agents=False) as lab:
        for node in lab.nodes.values():
            start_apart(node, wrap)
        for node in lab.nodes.values():
            node.wait_agent()
        lab.wait_settled()
        yield lab


def start_apart(node: Node, wrap: Wrap) -> None:
    """Start a node's agent in a way of its own."""
    node.cgroup.below(AGENT).start(node.namespace, [*wrap(node), *node.agent_command()],
                                   node.log(AGENT))


def small_state_dir(node: Node) -> Sequence[str]:
    """Give a node a state directory with room for a few files, on a disk of its own."""
    return *_APART, _TMPFS, str(node.state_dir), "256k"


def own_etc(node: Node) -> Sequence[str]:
    """Give a node a directory of its own where the lab has the key that all share.

    It is bound over a directory, since a file that is mounted cannot be replaced by another one.
    """
    shared = node.configuration.parent / "etc"
    own = node.directory / "etc"
    if not own.exists():
        shared.mkdir(exist_ok=True)
        own.mkdir()
        key = node.configuration.with_name(KEY)
        own_key = own / KEY
        own_key.touch(mode=0o600)
        own_key.write_text(key.read_text())
        text = node.configuration.read_text()
        node.configuration.write_text(text.replace(f'"{key}"', f'"{shared / KEY}"'))
    assert node.configuration.name == FILE
    return *_APART, _BOUND, str(own), str(shared)
