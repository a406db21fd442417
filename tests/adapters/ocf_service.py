"""One service with a resource agent, driven as the shell of an agent would drive it.

    async with service(folder, Agent(name="ocf:heartbeat:Dummy")) as dummy:
        assert (await dummy.run("start")).ok
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from hamgr.adapters.services.ocf import Agent, LocalAttributes, OcfAgents
from hamgr.adapters.services.ocf.agent import OCF_ROOT
from hamgr.core.effects import RunService
from hamgr.core.events import AttributeChanged, Event, ServiceAnswered, ServiceScored
from hamgr.core.types import SECOND, Found
from tests.netns import PATIENCE_S

LONG = 60 * SECOND
GROUP, SERVICE, NODE = "crm", "app", "n1"
INSTANCE = f"{GROUP}-{SERVICE}"


class Service:
    """The driver with one service, and everything that it posts."""

    def __init__(self, folder: Path, agent: Agent, root: Path = OCF_ROOT, node: str = NODE,
                 attributes: LocalAttributes | None = None) -> None:
        self.attributes = attributes or LocalAttributes()
        self.answers: asyncio.Queue[ServiceAnswered] = asyncio.Queue()
        self.scores: list[ServiceScored] = []
        self.commands = folder / "ocf" / "bin"
        self.driver = OcfAgents("test", node, {(GROUP, SERVICE): agent}, self._posted,
                                directory=folder / "ocf", attributes=self.attributes, root=root)
        self._runs = 0
        self.changed: list[AttributeChanged] = []

    def start(self, action: str, timeout: int = LONG, active: bool = True) -> int:
        """Start an action, and return the number of its run."""
        self._runs += 1
        self.driver.run(RunService(run=self._runs, group=GROUP, service=SERVICE, action=action,
                                   epoch=42, timeout=timeout, active=active))
        return self._runs

    async def answer(self) -> ServiceAnswered:
        """Return the next answer."""
        return await asyncio.wait_for(self.answers.get(), PATIENCE_S)

    async def run(self, action: str, within: int = LONG, active: bool = True) -> ServiceAnswered:
        """Run an action to its end."""
        self.start(action, within, active)
        return await self.answer()

    async def found(self, action: str = "probe", active: bool = True) -> tuple[bool, Found]:
        """Return whether a probe or monitor is content, and what it finds."""
        told = await self.run(action, active=active)
        return told.ok, told.found

    async def shim(self, *argv: str, instance: str = INSTANCE) -> tuple[int, str, str]:
        """Call a command as an agent would; return its status, and what it prints."""
        process = await asyncio.create_subprocess_exec(
            self.commands / argv[0], *argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"HAMGR_SHIM_SOCKET": str(self.commands.parent / "shims.sock"),
                 "OCF_RESOURCE_INSTANCE": instance})
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def _posted(self, event: Event) -> None:
        if isinstance(event, ServiceScored):
            self.scores.append(event)
        elif isinstance(event, AttributeChanged):
            self.changed.append(event)
        else:
            assert isinstance(event, ServiceAnswered), event
            self.answers.put_nowait(event)


@asynccontextmanager
async def service(folder: Path, agent: Agent, root: Path = OCF_ROOT, node: str = NODE,
                  attributes: LocalAttributes | None = None) -> AsyncIterator[Service]:
    """Start the driver for one service, and end it."""
    driven = Service(folder, agent, root, node, attributes)
    try:
        await driven.driver.start()
        yield driven
    finally:
        await driven.driver.close()


def serve(folder: Path, agent: Agent, then: Callable[[Service], Awaitable[None]],
          root: Path = OCF_ROOT) -> None:
    """Run a story about one service."""
    async def story() -> None:
        async with service(folder, agent, root) as driven:
            await then(driven)
    asyncio.run(story())


def write_agent(folder: Path, script: str, name: str = "thing") -> Path:
    """Write a resource agent ocf:test:NAME as a shell script; return its OCF_ROOT."""
    path = folder / "root" / "resource.d" / "test" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return folder / "root"
