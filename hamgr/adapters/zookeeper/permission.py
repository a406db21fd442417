"""Whether this node may write the cluster's records, and that nobody else may.

It is asked by making the cluster's folders: they are there, or have to be. A server looks at the
parent's access list before it says that a folder exists, so the answer tells what is allowed, and
nothing is written for it. A write that is denied ends the permission; then it is asked for again
every few seconds.

With `protect` every node of the cluster gets the access list that new ones are made with, once in
an agent's life: those that are older than the protection have another one.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from kazoo.exceptions import (
    BadArgumentsError,
    InvalidACLError,
    KazooException,
    NoAuthError,
    NoNodeError,
)
from kazoo.security import ACL

from hamgr.adapters.zookeeper.access import Access
from hamgr.adapters.zookeeper.session import NotAnswered
from hamgr.adapters.zookeeper.tamed import NotSent
from hamgr.adapters.zookeeper.tree import ATTRIBUTES, BASE, SESSIONS, Tree
from hamgr.core.records import HISTORY, REQUESTS, ROOT, SEATS

log = logging.getLogger(__name__)

ASK_AGAIN_S = 5.0
DENIED = (NoAuthError, InvalidACLError, BadArgumentsError)
_FOLDERS = (ROOT, SEATS, REQUESTS, HISTORY, SESSIONS, ATTRIBUTES)
_OUTSIDE = 2
"""BASE and ROOT are made in folders that may be others'; what is in ROOT is the cluster's."""

Submit = Callable[[Callable[[Any], Any]], "asyncio.Future[Any]"]
"""Makes one call on the kazoo client; its future fails as Session.submit says."""


class Permission:
    """What the servers have shown so far."""

    def __init__(self, tree: Tree, access: Access, submit: Submit,
                 changed: Callable[[], None]) -> None:
        """`changed` is called when `why` has become, or is no longer, empty."""
        self._tree = tree
        self._access = access
        self._submit = submit
        self._changed = changed
        self._asked: asyncio.Future[list[Any]] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._protecting: asyncio.Task[None] | None = None
        self._protected = not access.protect
        self.why = ""
        """In words, why this node may not write; empty while nothing says so."""

    def ask(self) -> None:
        """Make the folders that are missing; submitted on return, judged when answered."""
        self._pause()
        paths = (BASE, *map(self._tree.at, _FOLDERS))
        made = [self._submit(functools.partial(_create, path)) for path in paths]
        self._asked = asyncio.gather(*made, return_exceptions=True)
        self._asked.add_done_callback(self._made)

    def denied(self, error: BaseException) -> None:
        """Take in that a write was denied."""
        self._deny(f"this node may not write there: {_remedy(error, self._access.user)}")

    def _deny(self, why: str) -> None:
        self._ask_later()
        if not self.why:
            self.why = why
            log.error("ZooKeeper: %s", why)
            self._changed()

    def stop(self) -> None:
        """Ask nothing any more, until told to."""
        self._pause()
        self._asked = None
        if self._protecting is not None:
            self._protecting.cancel()

    def _pause(self) -> None:
        if self._again is not None:
            self._again.cancel()

    def _ask_later(self) -> None:
        self._pause()
        self._again = asyncio.get_running_loop().call_later(ASK_AGAIN_S, self.ask)

    def _made(self, answers: "asyncio.Future[list[Any]]") -> None:
        if answers is not self._asked or answers.cancelled():
            return
        found = answers.result()
        inside = found[_OUTSIDE:]
        if any(isinstance(one, NotSent | NotAnswered) for one in found):
            self._ask_later()
            return
        outside = [one for one in found[:_OUTSIDE] if isinstance(one, DENIED)]
        if denied := [one for one in inside if isinstance(one, DENIED)]:
            self.denied(denied[0])
        elif outside and any(isinstance(one, NoNodeError) for one in inside):
            user = f"user {self._access.user}" if self._access.user else "anybody"
            self._deny(f"this node may not make {self._tree.at(ROOT)}: {BASE} is another user's, "
                       f"who must make it and let {user} write there")
        else:
            self._allow()

    def _allow(self) -> None:
        if self.why:
            self.why = ""
            log.info("ZooKeeper lets this node write again")
            self._changed()
        if not self._protected and (self._protecting is None or self._protecting.done()):
            self._protecting = asyncio.create_task(self._protect())

    async def _protect(self) -> None:
        """Give the access list to what has another one; all of it again if it is interrupted."""
        acl, count, denied = self._access.acl(), 0, []
        assert acl is not None, "there is something to protect with"
        try:
            async for path in self._nodes():
                try:
                    count += await self._give(path, acl)
                except NoAuthError:
                    denied.append(path)
        except (NotSent, NotAnswered):
            return
        except KazooException as error:
            log.error("the cluster's records in ZooKeeper cannot be protected: %r", error)
            return
        self._protected = True
        if count:
            log.info("%d nodes in ZooKeeper can be written by user %s alone now", count,
                     self._access.user)
        if theirs := [path for path in denied if path != BASE]:
            log.error("in ZooKeeper %s cannot be protected, since another user owns it: whoever "
                      "that is must give it to user %s", ", ".join(theirs), self._access.user)

    async def _nodes(self) -> AsyncIterator[str]:
        """Yield every path of the cluster, and at the end the folder of all clusters."""
        paths = [self._tree.at(ROOT)]
        while paths:
            path = paths.pop()
            yield path
            try:
                names = await self._submit(functools.partial(_list, path))
            except NoNodeError:
                continue
            paths += [f"{path}/{name}" for name in sorted(names)]
        yield BASE

    async def _give(self, path: str, acl: list[ACL]) -> bool:
        """Return whether a node had another access list. Raises NoAuthError if it is not ours."""
        try:
            found, _ = await self._submit(lambda zk: zk.get_acls_async(path))
            if set(found) == set(acl):
                return False
            await self._submit(lambda zk: zk.set_acls_async(path, acl))
        except NoNodeError:
            return False  # it went meanwhile
        return True


def _create(path: str, client: Any) -> Any:
    return client.create_async(path)


def _list(path: str, client: Any) -> Any:
    return client.get_children_async(path)


def _remedy(error: BaseException, user: str) -> str:
    if isinstance(error, InvalidACLError):
        return "the server knows no users of SASL, its authProvider.sasl must be set"
    if not isinstance(error, NoAuthError):
        return repr(error)
    if user:
        return (f"the records are not user {user}'s, [zookeeper] must name the user who they "
                "belong to")
    return "the records are protected, user and password_file must be set in [zookeeper]"
