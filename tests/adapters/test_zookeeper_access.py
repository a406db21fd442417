"""A real ZooKeeper with TLS, SASL and access lists: who may come in, who may write, and what the
others are told."""

import asyncio
import logging
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.exceptions import NoAuthError, NotEmptyError
from kazoo.security import make_acl

from hamgr.adapters.zookeeper import Access, NotSent, connected, permission
from hamgr.core.events import ZooKeeperChanged
from hamgr.core.records import History, Leader, Request, Root
from hamgr.lab import certificates, secured
from tests.access import (
    NOBODY,
    access,
    as_user,
    below,
    beside,
    client,
    content,
    keys,
    lists,
)
from tests.certificates import expired
from tests.coordinator import DONE, REFUSED, SEAT, TIMEOUT_S, Node, announced, create, lead, nodes
from tests.zookeeper import Server, ensemble

pytestmark = pytest.mark.real

CLOSED = {make_acl("sasl", secured.USER, all=True), make_acl("world", "anyone", read=True)}
SOON_S = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ensemble(secure=True) as (one,):
        yield one


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with ensemble() as (one,):
        yield one


@pytest.fixture
def cluster() -> str:
    return uuid.uuid4().hex


async def found(server: Server, cluster: str, way: Access) -> None:
    """Write one record of each kind, and go; the agent's session stays no longer."""
    async with nodes([server], cluster=cluster, access=way) as (n1,):
        await fill(n1)


async def fill(node: Node) -> None:
    for write in (create("", Root(cluster_id="a")), create("leader", Leader(term=1)),
                  create("seats/n1", SEAT), create("requests/r", Request(id="r", kind="resume")),
                  create("history/1", History(revision=1, by="n1", lines=("x",)))):
        assert (await node.write(write)).outcome is DONE
    await announced(node, ["n1"])


@asynccontextmanager
async def stranger(server: Server, cluster: str, way: Access,
                   **options: Any) -> AsyncIterator[Node]:
    """Have a node that is not let in, or not let write, and need not be."""
    node = Node(cluster, [server.host], **{"session_timeout_s": 2.0, **options, "access": way})
    await node.zk.start()
    try:
        yield node
    finally:
        await node.zk.close(2)


async def trouble(node: Node) -> str:
    async with asyncio.timeout(SOON_S):
        while not node.zk.trouble:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    return node.zk.trouble


def test_everything_that_is_made_is_writable_by_the_user_alone(
        server: Server, cluster: str) -> None:
    async def story() -> None:
        async with nodes([server], cluster=cluster, access=access(server)) as (n1,):
            await fill(n1)
            async with connected([server.host], cluster, access=access(server)) as tree:
                await tree.create("requests/q", Request(id="q", kind="resume"))
            async with beside(server) as anybody:
                found = await asyncio.to_thread(lists, anybody, "/hamgr")
        assert {path.removeprefix(f"/hamgr/{cluster}") for path in found} >= {
            "/hamgr", "", "/leader", "/seats", "/seats/n1", "/sessions", "/sessions/n1",
            "/requests", "/requests/r", "/requests/q", "/history", "/history/1", "/attributes"}
        assert {path: acl for path, acl in found.items() if set(acl) != CLOSED} == {}
    asyncio.run(story())


def test_an_unauthenticated_client_reads_everything_and_writes_nothing(
        server: Server, cluster: str) -> None:
    asyncio.run(found(server, cluster, access(server)))
    with client(server) as anybody:
        before = content(anybody, f"/hamgr/{cluster}")
        assert before[f"/hamgr/{cluster}/leader"][0] != b""
        opened = [make_acl("world", "anyone", all=True)]
        for path in below(anybody, "/hamgr"):
            for attempt in (lambda path: anybody.set(path, b"{}"), anybody.delete,
                            lambda path: anybody.create(f"{path}/extra"),
                            lambda path: anybody.set_acls(path, opened)):
                # "/" is not hamgr's: who may delete in it is stopped by what is below.
                outside = (path, attempt) == ("/hamgr", anybody.delete)
                with pytest.raises(NotEmptyError if outside else NoAuthError):
                    attempt(path)
        assert content(anybody, f"/hamgr/{cluster}") == before


NOT_LET_IN = [
    ({"password_file": "wrong.password"}, "does not let user hamgr in: password_file"),
    # With the right password of another user it would be let in: a server (3.8) that does not know
    # a name goes on with the user who logged in before.
    ({"user": "other", "password_file": "wrong.password"}, "does not let user other in: password_"),
    ({"ca_file": "other.pem"}, "shows a certificate that does not hold (unable to get local"),
    ({"cert_file": None, "key_file": None}, "does not accept this node's certificate (bad certif"),
    ({"cert_file": "foreign.pem", "key_file": "foreign.key"},
     "does not accept this node's certificate (certificate unknown): cert_file must be"),
    ({"cert_file": "late.pem", "key_file": "late.key"},
     "does not accept this node's certificate (certificate unknown): cert_file must be"),
    ({"ca_file": None, **NOBODY}, "closes the connection before it answers: it has no quorum, or "
                                  "wants TLS (ca_file)"),
]


@pytest.fixture(scope="module")
def files(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that do not fit the server."""
    folder = tmp_path_factory.mktemp("files")
    certificates.make_ca(folder, "other")
    certificates.sign(folder, "foreign", by="other")
    assert server.secrets is not None
    for name in (f"{certificates.CA}.pem", f"{certificates.CA}.key"):
        shutil.copy(server.secrets / name, folder)
    expired(folder, "late")
    password = folder / "wrong.password"
    password.write_text("guess\n")
    password.chmod(0o600)
    return folder


@pytest.mark.parametrize("changes, words", NOT_LET_IN, ids=lambda value: str(value)[:40])
def test_who_is_not_let_in_is_told_why_and_by_whom(
        server: Server, cluster: str, files: Path, changes: dict[str, Any], words: str,
        caplog: pytest.LogCaptureFixture) -> None:
    way = access(server, **{
        key: str(files / value) if isinstance(value, str) and "file" in key else value
        for key, value in changes.items()})

    async def story() -> None:
        async with stranger(server, cluster, way) as node:
            assert (await trouble(node)).startswith(f"{server.host} {words}")
            assert (await node.write(create("", Root(cluster_id="a")))).outcome is REFUSED
            await asyncio.sleep(0.7)  # several attempts
            assert not [event for event in node.told if isinstance(event, ZooKeeperChanged)]
        with pytest.raises(NotSent) as told:
            async with connected([server.host], cluster, access=way, within_s=0.7):
                raise AssertionError("was let in")
        assert words in str(told.value)

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if words in record.getMessage()]
    assert said == [f"ZooKeeper: {line}" for line in dict.fromkeys(
        one.removeprefix("ZooKeeper: ") for one in said)], "said again at each attempt"
    assert len(said) == 1
    with client(server) as anybody:
        assert not anybody.exists(f"/hamgr/{cluster}")


@pytest.mark.parametrize("name, text, words", [
    ("password_file", None, "{file}: cannot be read: No such file or directory; make it with (um"),
    ("password_file", "two\nlines\n", "{file}: must be one line, the password and nothing else"),
    ("password_file", "guess\n", "{host} does not let user hamgr in"),
    ("key_file", None, "{file}: cannot be read: No such file or directory"),
    ("ca_file", "nothing", "{file}: holds no certificate"),
])
def test_a_file_that_goes_bad_is_named_and_used_again_when_it_is_mended(
        server: Server, cluster: str, tmp_path: Path, name: str, text: str | None,
        words: str) -> None:
    file = tmp_path / "file"
    if text is not None:
        file.write_text(text)
        file.chmod(0o600)
    way = access(server, **{name: str(file)})

    async def story() -> None:
        # So long a session that it is this client, not its replacement, that reads the file again.
        async with stranger(server, cluster, way, session_timeout_s=60.0) as node:
            assert (await trouble(node)).startswith(words.format(file=file, host=server.host))
            shutil.copy(getattr(keys(server), name), file)
            await node.change(up=True)
            assert node.zk.trouble == ""
            assert (await node.write(create("", Root(cluster_id="a")))).outcome is DONE
    asyncio.run(story())


def test_an_open_server_is_no_place_for_tls_nor_for_a_user(plain: Server, server: Server,
                                                           cluster: str) -> None:
    async def story() -> None:
        for changes, words in (
                (NOBODY, f"{plain.host} does not speak TLS ("),
                ({"ca_file": None, "cert_file": None, "key_file": None},
                 f"{plain.host} has no users for SASL: it must be started with a JAAS file")):
            node = Node(cluster, [plain.host], access=access(server, **changes))
            await node.zk.start()
            try:
                assert (await trouble(node)).startswith(words)
            finally:
                await node.zk.close(2)
    asyncio.run(story())


def test_a_server_that_lets_nobody_in_without_sasl_says_so(cluster: str) -> None:
    with ensemble(secure=True, lines=["enforce.auth.enabled=true",
                                      "enforce.auth.schemes=sasl"]) as (strict,):
        async def story() -> None:
            async with stranger(strict, cluster, access(strict, **NOBODY)) as node:
                assert await trouble(node) == (
                    f"{strict.host} lets nobody in without SASL: set user and password_file in "
                    "[zookeeper]")
                await asyncio.sleep(0.7)  # several attempts
                assert node.told == []
            await found(strict, cluster, access(strict))
        asyncio.run(story())


def test_a_node_without_the_right_user_is_told_everything_and_writes_nothing(
        server: Server, cluster: str, caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "ASK_AGAIN_S", 0.5)
    asyncio.run(found(server, cluster, access(server)))

    async def story() -> None:
        async with nodes([server], "n2", cluster=cluster, access=access(server, **NOBODY)) as (n2,):
            down = await n2.change(up=False)
            assert n2.zk.trouble == (
                "this node may not write there: the records are protected, user and password_file "
                "must be set in [zookeeper]")
            assert (await n2.read("leader", version=0)).record == Leader(term=1)
            assert (await n2.write(lead(2, 0))).outcome is REFUSED
            async with nodes([server], "n1", cluster=cluster, access=access(server)) as (n1,):
                assert (await n1.write(lead(3, 0))).outcome is DONE
            assert (await n2.read("leader", version=1)).record == Leader(term=3)
            await asyncio.sleep(1.2)  # it asks again, twice
            assert not [event for event in n2.told[down + 1:]
                        if isinstance(event, ZooKeeperChanged)]
            async with beside(server, **as_user(server)) as zk:
                await asyncio.to_thread(give, zk, cluster, [make_acl("world", "anyone", all=True)])
            await n2.change(up=True, since=down)
            assert n2.zk.trouble == ""
            assert (await n2.write(lead(4, 1))).outcome is DONE

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if "may not write" in record.message]
    assert len(said) == 1 and said[0].startswith("ZooKeeper: this node may not write there")


def test_a_write_that_is_denied_although_the_folders_are_open_is_told_too(
        server: Server, cluster: str) -> None:
    async def story() -> None:
        async with nodes([server], cluster=cluster,
                         access=access(server, protect=False)) as (n1,):
            await fill(n1)
            async with beside(server) as zk:
                await asyncio.to_thread(zk.set_acls, f"/hamgr/{cluster}/leader", [
                    make_acl("sasl", "other", all=True), make_acl("world", "anyone", read=True)])
            assert (await n1.write(lead(2, 0))).outcome is REFUSED
            await n1.change(up=False)
            assert "the records are not user hamgr's" in n1.zk.trouble
            allowed = create("history/2", History(revision=2, by="n1", lines=("x",)))
            assert (await n1.write(allowed)).outcome is REFUSED, "told to be without ZooKeeper"
    asyncio.run(story())


def test_an_agent_that_protects_closes_what_is_older_and_changes_nothing_else(
        cluster: str) -> None:
    async def story(server: Server) -> None:
        async with nodes([server], "n1", cluster=cluster,
                         access=access(server, **NOBODY)) as (n1,), beside(server) as zk:
            await fill(n1)
            before = await asyncio.to_thread(content, zk, f"/hamgr/{cluster}")
            async with nodes([server], "n2", cluster=cluster, access=access(server)) as (n2,):
                await until_closed(zk, "/hamgr")
                after = await asyncio.to_thread(content, zk, f"/hamgr/{cluster}")
                assert {path: after[path] for path in before} == before
                assert (await n2.write(lead(2, 0))).outcome is DONE
                assert (await n1.write(lead(3, 1))).outcome is REFUSED

    with ensemble(secure=True) as (fresh,):
        asyncio.run(story(fresh))


def test_what_another_user_owns_is_named_and_the_rest_is_closed(
        server: Server, cluster: str, caplog: pytest.LogCaptureFixture) -> None:
    foreign = f"/hamgr/{cluster}/foreign"
    theirs = [make_acl("sasl", "other", all=True), make_acl("world", "anyone", read=True)]

    async def story() -> None:
        async with beside(server) as zk:
            await found(server, cluster, access(server, protect=False))
            await asyncio.to_thread(zk.create, foreign, acl=theirs)
            async with nodes([server], cluster=cluster, access=access(server)):
                async with asyncio.timeout(TIMEOUT_S):
                    while foreign not in caplog.text:  # noqa: ASYNC110 - nothing tells of it
                        await asyncio.sleep(0.05)
                after = await asyncio.to_thread(lists, zk, f"/hamgr/{cluster}")
        assert [path for path, acl in after.items() if set(acl) != CLOSED] == [foreign]

    asyncio.run(story())
    (said,) = [record.message for record in caplog.records if foreign in record.message]
    assert said == (f"in ZooKeeper {foreign} cannot be protected, since another user owns it: "
                    f"whoever that is must give it to user {secured.USER}")


def test_a_cluster_in_the_folder_of_another_user_needs_its_root_made_for_it(
        cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(permission, "ASK_AGAIN_S", 0.5)
    theirs = [make_acl("x509", "CN=other", all=True), make_acl("world", "anyone", read=True)]

    async def story(server: Server, other: Any) -> None:
        await asyncio.to_thread(other.create, "/hamgr", acl=theirs)
        async with nodes([server], cluster=cluster, access=access(server)) as (n1,):
            down = await n1.change(up=False)
            assert n1.zk.trouble == (
                f"this node may not make /hamgr/{cluster}: /hamgr is another user's, who must make "
                "it and let user hamgr write there")
            await asyncio.to_thread(other.create, f"/hamgr/{cluster}", acl=[*CLOSED])
            await n1.change(up=True, since=down)
            await fill(n1)
            await until_closed(other, f"/hamgr/{cluster}")
            assert (await asyncio.to_thread(other.get_acls, "/hamgr"))[0] == theirs
            assert "cannot be protected" not in caplog.text, "/hamgr need not be"

    async def with_other(server: Server) -> None:
        assert server.secrets is not None
        for name in (f"{certificates.CA}.pem", f"{certificates.CA}.key"):
            shutil.copy(server.secrets / name, tmp_path)
        certificates.sign(tmp_path, "other")
        async with beside(server, certfile=f"{tmp_path}/other.pem",
                          keyfile=f"{tmp_path}/other.key") as other:
            await story(server, other)

    with ensemble(secure=True) as (server,):
        asyncio.run(with_other(server))


async def until_closed(zk: Any, path: str) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while any(set(acl) != CLOSED  # noqa: ASYNC110 - nothing tells of it
                  for acl in (await asyncio.to_thread(lists, zk, path)).values()):
            await asyncio.sleep(0.05)


def give(zk: Any, cluster: str, acl: list[Any]) -> None:
    for path in below(zk, f"/hamgr/{cluster}"):
        zk.set_acls(path, acl)
