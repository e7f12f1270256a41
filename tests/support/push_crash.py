"""A front end over a disk and a database, both of which die, or cancel who waits for them, at one step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from p2p.config import HostingSettings, StoreSettings
from p2p.metadata.sql import open_metadata
from p2p.store.disk import DiskStore
from p2p.store.files import OsFiles
from tests.support.push_rig import Push
from tests.support.store_rig import HASHER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from p2p.content.api import SharedContent
    from p2p.metadata.database import Database

CHANGES = ("create", "write", "sync", "rename", "sync_directory", "unlink")
"""The calls that change something, or make a change last."""


class Crash(BaseException):
    """The process died: nothing that it does from now on has an effect."""


class Steps:
    """Counts what reaches the disk or the database, and calls ``act`` at step ``at``; ``lasting``: and after.

    A crash behind a step is one before the next.
    """

    def __init__(
        self, at: int = 1 << 30, act: Callable[[], None] = lambda: None, *, lasting: bool = True
    ) -> None:
        self._at = at
        self._act = act
        self._lasting = lasting
        self.names: list[str] = []
        self.armed = False

    def step(self, name: str) -> None:
        """One more, before it is done."""
        if not self.armed:
            return
        self.names.append(name)
        count = len(self.names)
        if count == self._at or (self._lasting and count > self._at):
            self._act()


class SteppedFiles(OsFiles):
    """``Files`` of the operating system, whose changes are steps."""

    def __init__(self, root: Path, steps: Steps) -> None:
        super().__init__(root)
        for name in CHANGES:
            setattr(self, name, self._stepped(name, getattr(self, name), steps))

    def _stepped(self, name: str, call: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
        def stepped(*args: Any) -> Any:
            steps.step(name)
            # A process that dies leaves the kernel's pages: waiting for the disk would only cost time.
            return None if name in ("sync", "sync_directory") else call(*args)

        return stepped


class SteppedDatabase:
    """``Database``, whose transactions are steps."""

    def __init__(self, database: Database, steps: Steps) -> None:
        self._database = database
        self._steps = steps
        self.shared = database.shared

    async def do(self, work: Callable[[Any], Any], *, durable: bool = False) -> Any:
        """``Database.do``."""
        self._steps.step("commit" if durable else "query")
        return await self._database.do(work)

    async def collects(self) -> bool:
        """``Database.collects``."""
        return await self._database.collects()


class SteppedContent:
    """``SharedContent``, whose changes are steps."""

    def __init__(self, content: SharedContent, steps: Steps) -> None:
        self._content = content
        self._steps = steps
        self.name = content.name
        self.open = content.open
        self.keys = content.keys

    async def put(self, key: str, fd: int, size: int) -> None:
        """``SharedContent.put``: it may be there though the process dies before it hears of it."""
        self._steps.step("put")
        await self._content.put(key, fd, size)
        self._steps.step("was put")

    async def remove(self, key: str) -> None:
        """``SharedContent.remove``."""
        self._steps.step("remove")
        await self._content.remove(key)
        self._steps.step("was removed")


@asynccontextmanager
async def opened(
    directory: Path,
    steps: Steps | None = None,
    settings: HostingSettings | None = None,
    *,
    content: SharedContent | None = None,
    store: str = "store",
) -> AsyncIterator[Push]:
    """Open the state as a node does that starts: what a crash left is mended before anything is served.

    ``content``: shared with other front ends of the same database, each with a ``store`` of its own.
    """
    steps = steps or Steps()
    store_of_its_own = await DiskStore.load(
        directory / store,
        StoreSettings(minimum_free=0),
        hasher=HASHER,
        files=SteppedFiles(directory, steps),
    )
    with store_of_its_own as store_here:
        async with open_metadata(directory) as metadata:
            metadata._database = SteppedDatabase(metadata._database, steps)
            settings = settings or HostingSettings(repositories=("team/**",))
            shared = None if content is None else SteppedContent(content, steps)
            push = Push(settings=settings, hosting=metadata, store=store_here, content=shared)
            async with trio.open_nursery() as nursery:
                await nursery.start(push.hosted.run)
                nursery.cancel_scope.cancel()
            yield push
