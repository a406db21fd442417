"""What a signal says that comes while a unit is looked at is neither lost nor overruled."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageType

from hamgr.adapters.services.systemd import Units
from hamgr.adapters.services.systemd.bus import DAEMON, DAEMON_PATH, SYSTEMD, Bus
from hamgr.adapters.services.systemd.faults import Refused
from hamgr.adapters.services.systemd.manager import Manager, Seen
from hamgr.core.effects import RunService
from hamgr.core.events import Event, ServiceAnswered
from hamgr.core.types import SECOND, Found

PATH = "/org/freedesktop/systemd1/unit/app_2eservice"
FAILED = {"ActiveState": "failed", "SubState": "failed", "Job": (0, "/")}


class Slow:
    """systemd whose newest answer is on its way when the unit fails."""

    def __init__(self, fails: Callable[[], None]) -> None:
        self.bus = self
        self.trouble = ""
        self._fails = fails
        self._answers = ["inactive", "active", "failed"]

    async def there(self) -> None:
        pass

    async def do(self, method: str, unit: str, queued: Callable[[int], None], mode: str) -> str:
        queued(1)
        return "done"

    async def look(self, unit: str) -> Seen:
        state = self._answers.pop(0)
        if state == "active":
            self._fails()
        return Seen(unit, "", "loaded", state, "x", "", PATH, 0, "", "/")


def test_a_failure_that_overtakes_the_look_after_a_start_is_seen(tmp_path: Path) -> None:
    told: list[Event] = []

    async def story() -> None:
        units = Units({("g", "app"): "app.service"}, told.append, directory=tmp_path)
        units._watched["app.service"].path = PATH
        manager: Any = Slow(lambda: units._changed(PATH, FAILED))
        units._manager = manager
        units.run(RunService(run=1, group="g", service="app", action="start", epoch=1,
                             timeout=SECOND))
        await asyncio.gather(*units._runs.values())
        await asyncio.sleep(0)

    asyncio.run(story())
    (answered,) = told
    assert isinstance(answered, ServiceAnswered)
    assert (answered.ok, answered.found) == (False, Found.FAILED)


@pytest.mark.parametrize(("old", "new", "dropped"), [
    (":1.1", ":1.2", True), (":1.1", "", True), ("", ":1.2", False)])
def test_a_systemd_that_comes_back_as_another_process_is_asked_anew(
        old: str, new: str, dropped: bool) -> None:
    """The results of jobs that end meanwhile reach nobody: signals do not wait for a receiver."""
    class Connection:
        connected = True

        def disconnect(self) -> None:
            self.connected = False

    bus, connection = Bus("", print, asyncio.Event().wait, print), Connection()
    bus._bus = connection  # type: ignore[assignment]
    bus._take(Message(
        message_type=MessageType.SIGNAL, sender=DAEMON, path=DAEMON_PATH, interface=DAEMON,
        member="NameOwnerChanged", signature="sss", body=[SYSTEMD, old, new]))
    assert connection.connected is not dropped


@pytest.mark.parametrize(("name", "told"), [
    ("org.freedesktop.systemd1.NoSuchUnit", []),
    ("org.freedesktop.DBus.Error.AccessDenied", "Access denied")])
def test_who_may_not_see_processes_does_not_take_them_for_none(
        monkeypatch: pytest.MonkeyPatch, name: str, told: object) -> None:
    async def refused(*_: object) -> list[object]:
        raise Refused("Access denied", name)

    manager = Manager("", changed=print, came=asyncio.Event().wait)
    monkeypatch.setattr(manager.bus, "call", refused)
    try:
        assert asyncio.run(manager.processes("app.service")) == told
    except Refused as error:
        assert str(error) == told
