"""Records as they lie in ZooKeeper, and a stand-in for the session that reads them."""

from types import SimpleNamespace
from typing import Any

from kazoo.exceptions import NoNodeError

from hamgr.adapters.zookeeper import Tree


class Records:
    """A session in which a few records are there; stands for the client, too.

    A path is a keyword with two underscores in the place of each slash.
    """

    def __init__(self, **said: bytes) -> None:
        self.said = {f"/hamgr/crm/{path.replace('__', '/')}": data for path, data in said.items()}

    async def submit(self, call: Any) -> Any:
        found = call(self)
        if found is None:
            raise NoNodeError
        return found

    def get_children_async(self, folder: str) -> list[str]:
        return [path.removeprefix(f"{folder}/") for path in self.said
                if path.startswith(f"{folder}/")]

    def get_async(self, path: str) -> Any:
        data = self.said.get(path)
        return None if data is None else (data, SimpleNamespace(version=0, ctime=1))


def tree(**said: bytes) -> Tree:
    """Return the tree of cluster crm with these records, by path, and no others."""
    records: Any = Records(**said)
    return Tree("crm", lambda: records)
