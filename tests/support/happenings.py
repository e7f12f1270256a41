"""Happenings to tell of, and a sink that keeps what it gets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.notifications.api import Event, Happening, What

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 11, 25, 1, 2, 3, 456_000, tzinfo=UTC)
APP = Repository("hosted.invalid", "team/app")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def target(content: bytes = b"manifest", media_type: str = OCI_MANIFEST) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content))


def happening(what: What = What.PUSH, content: bytes = b"manifest", **more: Any) -> Happening:
    fields: dict[str, Any] = {"repository": APP, "target": target(content), "at": NOW} | more
    return Happening(what, **fields)


class Clock:
    """A wall clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class KeepingSink:
    """``Sink`` that keeps batches. ``errors`` are raised first, one a call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.batches: list[list[Event]] = []
        self.missing = 0
        self.changed = trio.Event()

    @property
    def numbers(self) -> list[int]:
        return [event.number for batch in self.batches for event in batch]

    async def send(self, events: Sequence[Event]) -> None:
        if self.errors:
            self._change()
            raise self.errors.pop(0)
        self.batches.append(list(events))
        self._change()

    async def missed(self) -> None:
        self.missing += 1

    async def wait_for(self, count: int) -> None:
        with trio.fail_after(3600):
            while len(self.numbers) < count:
                await self.changed.wait()

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
