"""A notification sink that appends events to a file, one line of JSON each.

Configured as ``kind = "file"`` with ``options = ["path=/var/log/remora-events.jsonl"]``.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2p.errors import ConfigError, NotificationError
from p2p.notifications.record import dump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from p2p.config import SinkSettings
    from p2p.notifications.api import Event


class FileSink:
    """``Sink`` for a file."""

    def __init__(self, name: str, path: trio.Path) -> None:
        self._name = name
        self._path = path

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events; the file is opened each time, so that it can be rotated."""
        await self._append(b"".join(dump(event.happening) + b"\n" for event in events))

    async def missed(self) -> None:
        """Leave a mark where events are missing."""
        await self._append(b'{"missed":true}\n')

    async def _append(self, data: bytes) -> None:
        try:
            async with await self._path.open("ab") as file:
                await file.write(data)
        except OSError as error:
            raise NotificationError(f"sink {self._name}", f"{self._path}: {error.strerror}") from error


@asynccontextmanager
async def open_file_sink(name: str, settings: SinkSettings, node: str) -> AsyncIterator[FileSink]:
    """Make the sink: the entry point ``file`` of ``remora.sinks``."""
    del node
    options = dict(option.split("=", 1) for option in settings.options if "=" in option)
    if "path" not in options:
        raise ConfigError(f"sink {name}", "it has no path", 'Add options = ["path=…"]')
    yield FileSink(name, trio.Path(options["path"]))
