"""What a look at the records finds, with a stand-in for the session."""

import asyncio
from types import SimpleNamespace
from typing import Any

from kazoo.exceptions import NoNodeError

from hamgr.adapters.zookeeper import Tree


class Records:
    """A session in which a few records are there; stands for the client, too."""

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


def test_a_session_that_says_nothing_readable_is_a_session_all_the_same() -> None:
    tree = Tree("crm", lambda: Records(  # type: ignore[arg-type,return-value]
        sessions__n1=b'{"macs": ["02:00:00:00:00:01"]}', sessions__n2=b"", sessions__n3=b"[]",
        sessions__n4=b'{"macs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"))
    assert asyncio.run(tree.sessions()) == {
        "n1": {"macs": ["02:00:00:00:00:01"]}, "n2": {}, "n3": {}, "n4": {}}


def test_what_is_no_number_is_no_entry_of_the_history() -> None:
    records = Records(history__7=b'{"revision": 7, "by": "n1", "lines": ["it moved"]}',
                      **{f"history__{'1' * 5000}": b"{}", "history__x": b"{}"})
    tree = Tree("crm", lambda: records)  # type: ignore[arg-type,return-value]
    found = asyncio.run(tree.history(10))
    assert [entry.record.revision for entry in found] == [7]
