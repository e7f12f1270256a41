"""Shared content's seam: objects by key, written once, read by all front ends of one database.

A key is never written twice with other bytes: whoever puts makes up a new one. So nobody who deletes late
can hit what somebody put later, and no reader needs to be told of changes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ContentObject:
    """One object: ``size`` in bytes, ``modified`` an aware time by the clock of who keeps it."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ContentContext:
    """What an implementation is opened with: the URL of the settings, and ``key=value`` options.

    Secrets come from the environment, never from here: both may be logged.
    """

    url: str
    options: tuple[str, ...] = ()


class ContentBody(Protocol):
    """Bytes of an object, in order, from ``offset``; ``size`` is the whole object's. An ``OriginBody``."""

    size: int
    offset: int
    media_type: str

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes of any length until the end."""
        ...

    async def read_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as the body reaches; gives how many bytes."""
        ...


class SharedContent(Protocol):
    """Objects by key. All errors are ``ContentError``s that name it. Safe for concurrent use.

    Keys are of letters, digits, ``-``, ``.`` and ``/``. ``name`` is its URL, without secrets.
    """

    name: str

    async def put(self, key: str, fd: int, size: int) -> None:
        """Keep the first ``size`` bytes of an open file: durable, and seen by all, when this returns.

        Nobody ever sees a part of it. The same bytes may be put again. The descriptor is not moved, and may
        be closed when this has ended, in whatever way. Who is cancelled can't tell whether it was put.
        """
        ...

    def open(
        self, key: str, offset: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[ContentBody]:
        """Open bytes ``[offset, stop)``, ``stop`` None for the end. ContentMissingError: no such object."""
        ...

    async def remove(self, key: str) -> None:
        """Delete an object if it is there; when this returns nobody can open it any more."""
        ...

    async def keys(self, last: str = "", n: int = 1000) -> Sequence[ContentObject]:
        """Give up to ``n`` objects after the key ``last``, in ASCII order; none: it was the end."""
        ...
