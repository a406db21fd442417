"""The fence devices of a document, as their adapter has them."""

from dataclasses import dataclass

from hamgr.adapters.fence import Device
from hamgr.config.private import KeyFileError
from hamgr.config.schema import Document
from hamgr.config.secret import read_secret
from hamgr.core.types import NodeName


@dataclass(frozen=True)
class SecretFile:
    """A file, or a credential of systemd, with a secret in it."""

    path: str

    def __call__(self) -> str:
        """Return the secret. Raises OSError in words."""
        try:
            return read_secret(self.path)
        except KeyFileError as error:
            raise OSError(str(error)) from error


def devices(document: Document) -> tuple[Device, ...]:
    """Return every fence device of a document. No file is read."""
    return tuple(
        Device(name=name, agent=fence.agent, command=fence.command or (), plugs=fence.nodes,
               options=fence.options,
               secrets={key: SecretFile(path) for key, path in fence.secrets.items()})
        for name, fence in document.fence.items())


def fenced_nodes(document: Document) -> tuple[NodeName, ...]:
    """Return the nodes that a fence device can cut off."""
    return tuple(dict.fromkeys(node for fence in document.fence.values() for node in fence.nodes))
