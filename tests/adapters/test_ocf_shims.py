"""Pacemaker's commands as agents call them: what they answer, and what becomes of what they set."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hamgr.adapters.services.ocf import Agent, Peers, Replicas
from hamgr.adapters.services.ocf.attributes import Lifetime, LocalAttributes, score
from hamgr.adapters.services.ocf.options import Option, UsageError, read, table
from tests.adapters.ocf_service import GROUP, SERVICE, Service, serve, write_agent

pytestmark = pytest.mark.real

PEERS = Peers(nodes=("n1", "n2", "n3"), online=("n1", "n2"),
              of=lambda *_: Replicas(promoted=("n2",), unpromoted=("n1",)))
NOSUCH = "crm_attribute: Error performing operation: No such device or address\n"


def asked(tmp_path: Path, then: Callable[[Service], Awaitable[None]]) -> None:
    async def story(thing: Service) -> None:
        thing.driver.see(lambda: PEERS)
        await then(thing)
    serve(tmp_path, Agent(name="ocf:test:thing", promotable=True), story,
          write_agent(tmp_path, "exit 0"))


def each(tmp_path: Path, *calls: tuple[str, int, str, str]) -> None:
    """Make calls, one after the other, and compare what each answers."""
    async def then(thing: Service) -> None:
        for words, *wanted in calls:
            assert (words, *await thing.shim(*words.split())) == (words, *wanted)
    asked(tmp_path, then)


# ---- attributes

def test_an_attribute_is_set_read_and_deleted(tmp_path: Path) -> None:
    each(tmp_path,
         ("crm_attribute -N n1 -l reboot --name a -G -q", 105, "", NOSUCH),
         ("crm_attribute -N n1 -l reboot --name a -G -q --default 5", 0, "5\n", ""),
         ("crm_attribute -N n1 -l reboot --name a -v true", 0, "", ""),
         ("crm_attribute -N n1 -l reboot --name a --quiet", 0, "true\n", ""),
         ("crm_attribute -l reboot -n a --query", 0, "scope=status  name=a value=true\n", ""),
         ("crm_attribute -N n1 -l forever --name a -G -q", 105, "", NOSUCH),
         ("crm_attribute -N n2 -l reboot --name a -G -q", 105, "", NOSUCH),
         ("crm_attribute --lifetime=reboot --name=a --node=n1 --delete", 0, "", ""),
         ("crm_attribute --lifetime=reboot --name=a --node=n1 --delete", 0, "", ""),
         ("crm_attribute -N n1 -l reboot --name a -G -q", 105, "", NOSUCH))


def test_another_nodes_attribute_and_the_clusters_own_are_apart(tmp_path: Path) -> None:
    each(tmp_path,
         ("crm_attribute -l forever -N n2 -n a -v theirs", 0, "", ""),
         ("crm_attribute --type crm_config --name a -s mysql_replication -v all", 0, "", ""),
         ("crm_attribute -l forever -N n1 -n a -v own", 0, "", ""),
         ("crm_attribute --type nodes --node n2 -n a -G -q", 0, "theirs\n", ""),
         ("crm_attribute --type crm_config --name a -s mysql_replication --query -q", 0,
          "all\n", ""),
         ("crm_attribute --name a --query", 0, "scope=crm_config  name=a value=all\n", ""),
         ("crm_attribute -l forever -n a -G --quiet", 0, "own\n", ""),
         ("crm_attribute --type=crm_config --name=stonith-enabled --query --quiet --default=true",
          0, "true\n", ""))


def test_attrd_updater_answers_as_agents_evaluate_it(tmp_path: Path) -> None:
    each(tmp_path,
         ("attrd_updater -p -n crm-app-gtid -U 0-1-7", 0, "", ""),
         ("attrd_updater -p -N n1 -n crm-app-gtid -Q", 0,
          'name="crm-app-gtid" host="n1" value="0-1-7"\n', ""),
         ("attrd_updater -n pingd -B 100 -d 5s", 0, "", ""),
         ("attrd_updater -n pingd -N n2 -v 200 -S status -q", 0, "", ""),
         ("attrd_updater -n pingd -Q -A", 0,
          'name="pingd" host="n1" value="100"\nname="pingd" host="n2" value="200"\n', ""),
         ("attrd_updater -D -n pingd -d 5s", 0, "", ""),
         ("attrd_updater -n pingd -Q", 105, "",
          "attrd_updater: Could not query value of pingd: attribute does not exist\n"),
         ("crm_attribute -l reboot -N n2 -n pingd -G -q", 0, "200\n", ""))


def test_rabbitmq_finds_the_nodes_that_have_an_attribute(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        for node in ("n2", "n3"):
            thing.attributes.set(node, "cookie", f"rabbit@{node}", Lifetime.REBOOT)
        for state, nodes in ("[@crmd='online']", ("n2",)), ("", ("n2", "n3")):
            code, out, _ = await thing.shim(
                "cibadmin", "-Q", "--xpath", f"//node_state{state}//nvpair[@name='cookie']")
            found = [one.get("value") for one in ElementTree.fromstring(out)]
            assert (code, found) == (0, [f"rabbit@{node}" for node in nodes])
        assert (await thing.shim("cibadmin", "-Q"))[0] == 3
    asked(tmp_path, then)


# ---- scores

def test_a_promotion_score_is_posted_when_it_changes(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        for words in ("crm_attribute --promotion -v 5", "crm_attribute -p -v 5",
                      "crm_attribute -N n1 -l reboot -n master-crm-app -v 1000",
                      "crm_master -Q -l reboot -v INFINITY", "crm_attribute -p -v -INFINITY",
                      "crm_attribute --promotion=crm-app -v 10", "crm_master -l reboot -D",
                      "crm_attribute -N n2 -p -v 7", "crm_attribute -p other -v 8"):
            code, _, err = await thing.shim(*words.split())
            assert (words, code, err) == (words, 0, "")
        assert [one.score for one in thing.scores] == [5, 1000, 1000000, -1000000, 10, -1]
        assert {(one.group, one.service) for one in thing.scores} == {(GROUP, SERVICE)}
        assert thing.scores[0].why == "promotion score 5"
        assert thing.attributes.get("n2", "master-crm-app", Lifetime.REBOOT) == "7"
        assert await thing.shim("crm_attribute", "-p", "-G", "-q", "-N", "n2") == (0, "7\n", "")
    asked(tmp_path, then)


def test_what_is_no_score_keeps_the_node_from_being_promoted(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        await thing.shim("crm_attribute", "-l", "forever", "-n", "master-crm-app", "-v", "7")
        await thing.shim("crm_attribute", "-p", "-v", "high")
        assert [(one.score, one.why) for one in thing.scores] == [
            (7, "promotion score 7"), (-1000000, "promotion score 'high' is no number")]
    asked(tmp_path, then)


def test_a_ban_is_the_lowest_score(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        assert (await thing.shim("crm_resource", "-B", "-r", "crm-app", "-N", "n1", "-Q"))[0] == 0
        assert [one.score for one in thing.scores] == [-1000000]
    asked(tmp_path, then)


@pytest.mark.parametrize("text, points", [
    ("5", 5), ("-3", -3), ("+7", 7), ("INFINITY", 1000000), ("-INFINITY", -1000000),
    ("99999999", 1000000)])
def test_scores_are_read_as_agents_write_them(text: str, points: int) -> None:
    assert score(text) == points


# ---- the cluster

def test_nodes_are_told(tmp_path: Path) -> None:
    each(tmp_path,
         ("crm_node -n", 0, "n1\n", ""), ("crm_node -i", 0, "1\n", ""),
         ("crm_node -l", 0, "1 n1 member\n2 n2 member\n3 n3 lost\n", ""),
         ("crm_node --list", 0, "1 n1 member\n2 n2 member\n3 n3 lost\n", ""),
         ("crm_node -p", 0, "n1 n2\n", ""), ("crm_node -l -p", 0, "n1 n2\n", ""),
         ("crm_node -q", 0, "1\n", ""), ("crm_node --name-for-id=2", 0, "n2\n", ""),
         ("crm_node -N 9", 105, "", "crm_node: no node has the id 9\n"),
         ("crm_resource --locate -r crm-app", 0, "resource crm-app is running on: n2 Promoted\n"
          "resource crm-app is running on: n1 \n", ""),
         ("crm_resource -W -Q", 0, "n2\nn1\n", ""))


def test_agents_find_what_they_look_for_in_crm_mon(tmp_path: Path) -> None:
    """By the expressions of galera, redis and pgsql."""
    async def then(thing: Service) -> None:
        for words in ("-1 --output-as=xml", "-1 --as-xml", "-1X", "-r --as-xml"):
            code, out, _ = await thing.shim("crm_mon", *words.split())
            document = ElementTree.fromstring(out)
            assert code == 0
            assert len(document.findall(".//nodes/node[@type='member'][@unclean='false']")) == 3
            assert [one.get("name") for one in document.findall(".//nodes/node[@online='true']")
                    ] == ["n1", "n2"]
        for pattern in (r'<resource id="crm-app" .* role="(Promoted|Master)"',
                        r'resource.*id="crm-app".* role="(Promoted|Master)".* active="true".* '
                        r'orphaned="false".* failed="false"', r'<node name="n2" .* online="true"'):
            assert (await grep(thing, pattern))[0] == 0, pattern
        assert (await grep(thing, r'<node name="n3" .* online="true"'))[0] == 1
        assert (await thing.shim("crm_mon", "-1"))[0] == 3
    asked(tmp_path, then)


async def grep(thing: Service, pattern: str) -> tuple[int, str, str]:
    """Look with grep in what crm_mon printed, as agents do."""
    _, out, _ = await thing.shim("crm_mon", "-1", "--output-as=xml")
    process = await asyncio.create_subprocess_exec(
        "grep", "-q", "-i", "-E", pattern, stdin=asyncio.subprocess.PIPE)
    await process.communicate(out.encode())
    return process.returncode or 0, "", ""


# ---- what is not served

def test_what_is_not_served_is_an_error_in_words(tmp_path: Path) -> None:
    each(tmp_path,
         ("crm_failcount -G -r x", 3, "",
          "crm_failcount: hamgr counts failures itself; see `hamgr status`\n"),
         ("stonith_admin --reboot=n2", 3, "", "stonith_admin: no agent can fence a node: hamgr "
                                              "does, as its groups are configured\n"),
         ("crm_attribute -N n1 --name standby -v on", 3, "",
          "crm_attribute: no agent can put a node in standby; use `hamgr standby NODE`\n"),
         ("crm_attribute -t nodes --node n1 -z -n cpu", 64, "",
          "crm_attribute: hamgr serves --name and --promotion only: it has no patterns, and "
          "places by no utilization\n"),
         ("crm_attribute --bogus", 64, "",
          "crm_attribute: unknown option --bogus: hamgr serves no such option\n"),
         ("crm_attribute -n", 64, "",
          "crm_attribute: option -n needs a value: hamgr serves no such option\n"),
         ("crm_resource --list-operations -N n1", 64, "",
          "crm_resource: unknown option --list-operations: hamgr serves no such option\n"))


def test_without_hamgr_a_command_fails_as_without_a_cluster(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        await thing.driver.close()
        code, out, err = await thing.shim("crm_node", "-n")
        assert (code, out) == (102, "") and err.startswith("crm_node: hamgr does not answer: ")
    asked(tmp_path, then)


def test_what_is_no_question_hurts_nobody(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        for question in b"", b"\0", b"x\0rm\0-rf", b"\xff" * 10, b"y" * (1 << 17):
            reader, writer = await asyncio.open_unix_connection(
                thing.commands.parent / "shims.sock")
            try:
                writer.write(question)
                writer.write_eof()
                assert (await reader.read()).startswith(b"64\n0\n")
            except ConnectionError:
                assert len(question) > 1 << 16, "one that is too long need not be read to its end"
            writer.close()
        assert (await thing.shim("crm_node", "-n"))[1] == "n1\n"
    asked(tmp_path, then)


def test_the_commands_are_roots_alone(tmp_path: Path) -> None:
    async def then(thing: Service) -> None:
        for path in (thing.commands, thing.commands.parent / "shims.sock"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    asked(tmp_path, then)


def test_options_are_read_as_glib_reads_them() -> None:
    known = table("name=,n promotion?,p quiet,q delete,D")
    def given(text: str) -> list[tuple[str, str]]:
        return [tuple(one) for one in read(known, tuple(text.split()))]
    assert given("-n a --name=b --name c -nd") == [
        ("name", "a"), ("name", "b"), ("name", "c"), ("name", "d")]
    assert given("-p -D --promotion=r -p r x") == [
        ("promotion", ""), ("delete", ""), ("promotion", "r"), ("promotion", "r"), ("", "x")]
    assert given("-qD -qn v") == [("quiet", ""), ("delete", ""), ("quiet", ""), ("name", "v")]
    assert list(read(known, ("--name=", "-n", "-1"))) == [Option("name"), Option("name", "-1")]
    for wrong in ("-x", "--nam a", "-n"):
        with pytest.raises(UsageError):
            given(wrong)


def test_listeners_hear_of_changes_only() -> None:
    attributes, heard = LocalAttributes(), []
    attributes.listen(lambda *change: heard.append(change))
    attributes.set("n1", "a", "1", Lifetime.REBOOT)
    attributes.set("n1", "a", "1", Lifetime.REBOOT)
    attributes.set("n2", "a", "2", Lifetime.REBOOT)
    attributes.set("n1", "a", None, Lifetime.REBOOT)
    attributes.set("n1", "a", None, Lifetime.REBOOT)
    assert heard == [("n1", "a", "1"), ("n2", "a", "2"), ("n1", "a", None)]
    assert attributes.holders("a", Lifetime.REBOOT) == ("n2",)
