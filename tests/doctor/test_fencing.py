"""What the doctor finds out of fence devices, by asking them, and that it switches nothing."""

from pathlib import Path

from hamgr.adapters.fence import Catalogue
from hamgr.config.document import parse
from hamgr.config.schema import Document
from hamgr.doctor.facts import FenceDevice
from hamgr.doctor.look.fencing import fence_devices
from tests.config.files import GOOD

DEVICE = """
[fence.{name}]
{program}
nodes = {{ n1 = "3", n2 = "4" }}
options = {{ ip = "10.9.0.1" }}
{more}
"""
AGENT = """#!/bin/sh
told=$(cat)
case "$told" in *action=metadata*) cat <<'E'
<resource-agent name="fence_thing"><parameters>
<parameter name="ip" required="1"><content type="string"/></parameter>
<parameter name="plug" required="1"><content type="string"/></parameter>
</parameters><actions><action name="off"/><action name="on"/></actions></resource-agent>
E
esac
"""


def document(*devices: str) -> Document:
    found = parse(GOOD + "".join(devices)).document
    assert found is not None
    return found


def device(tmp_path: Path, script: str, name: str = "pdu", more: str = "") -> str:
    """A command that notes what it is asked, and then is the script."""
    program = tmp_path / name
    program.write_text(f"#!/bin/sh\necho $HAMGR_FENCE_ACTION $HAMGR_FENCE_PLUG >> {program}.log\n"
                       f"{script}\n")
    program.chmod(0o755)
    return DEVICE.format(name=name, program=f'command = "{program}"', more=more)


def asked(tmp_path: Path, name: str = "pdu") -> list[str]:
    return (tmp_path / f"{name}.log").read_text().splitlines()


def seen(*devices: str, catalogue: Catalogue | None = None) -> tuple[FenceDevice, ...]:
    return fence_devices(document(*devices), catalogue).devices


def test_each_device_is_asked_what_switches_nothing(tmp_path: Path) -> None:
    (one,) = seen(device(tmp_path, '[ "$HAMGR_FENCE_ACTION $HAMGR_FENCE_PLUG" = "status 4" ] '
                                   "&& exit 2; exit 0"))
    assert (one.powers, one.silences, one.refusal) == ({"n1": "on", "n2": "off"}, {}, "")
    assert asked(tmp_path) == ["monitor 3", "status 3", "status 4"]


def test_one_that_cannot_tell_is_not_asked_for_it(tmp_path: Path) -> None:
    (one,) = seen(device(tmp_path, "exit 0", more="status = false"))
    assert (one.powers, one.silences, one.refusal) == ({}, {}, "")
    assert asked(tmp_path) == ["monitor 3"]


def test_what_it_says_when_it_fails_is_told(tmp_path: Path) -> None:
    (one,) = seen(device(tmp_path, "echo no route >&2; exit 1"))
    assert one.refusal == "exit status 1: no route"
    assert one.silences == dict.fromkeys(("n1", "n2"), "exit status 1: no route")


def test_all_are_asked_although_one_hangs(tmp_path: Path) -> None:
    quick, slow = seen(device(tmp_path, "exec sleep 1000", name="slow", more='timeout = "500ms"'),
                       device(tmp_path, "exit 0", name="quick"))
    assert slow.refusal == "no answer in 0.5 s"
    assert quick.powers == {"n1": "on", "n2": "on"}


def test_a_secret_that_cannot_be_read_is_told_and_nobody_asked(tmp_path: Path) -> None:
    secret = f'secrets = {{ password = "{tmp_path}/none" }}'
    (one,) = seen(device(tmp_path, "exit 0", more=secret))
    assert not one.asked and f"{tmp_path}/none: cannot be read" in one.secrets[0]
    assert one.secrets[0].startswith("password: ")
    assert not (tmp_path / "pdu.log").exists()


def test_an_agent_is_asked_what_it_takes(tmp_path: Path) -> None:
    agent = tmp_path / "fence_thing"
    agent.write_text(AGENT)
    agent.chmod(0o755)
    catalogue = Catalogue(tmp_path)
    thing = DEVICE.format(name="a", program='agent = "fence_thing"', more="")
    (one,) = seen(thing, catalogue=catalogue)
    assert one.misfits == ()
    wrong, missing = seen(thing.replace("ip =", "ipp ="), catalogue=catalogue)[0].misfits
    assert (wrong.key, missing.key) == ("options.ipp", "options.ip")
    gone = DEVICE.format(name="b", program='agent = "fence_nothing"', more="")
    (one,) = seen(gone, catalogue=catalogue)
    assert not one.asked and one.misfits[0].key == "agent"


def test_without_devices_there_is_nothing_to_see() -> None:
    assert seen() == ()
