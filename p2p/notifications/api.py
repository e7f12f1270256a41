"""The seam of notifications: what happened, who is told, and where it waits until they have been."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from p2p.config import SinkSettings
    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.reference import Repository


class What(Enum):
    """What was done."""

    PUSH = "push"
    PULL = "pull"
    MOUNT = "mount"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that was done to one manifest or blob of a hosted repository.

    ``tags``: those that a manifest was pushed or deleted under, none for blobs. A deleted tag alone has
    ``target`` None. ``source``: the repository a blob was mounted from. ``actor`` is the principal's name,
    empty where nobody had to say it; ``client`` its address. ``at`` is an aware time.
    """

    what: What
    repository: Repository
    target: Descriptor | None
    at: datetime
    tags: tuple[str, ...] = ()
    source: Repository | None = None
    actor: str = ""
    client: str = ""
    user_agent: str = ""


class Notifier(Protocol):
    """Takes what happened. Never raises, never waits for a receiver."""

    async def tell(self, happenings: Sequence[Happening]) -> None:
        """Note these durably, in order (pulls may be noted in batches, later)."""
        ...


class Silence:
    """A ``Notifier`` for nobody."""

    async def tell(self, happenings: Sequence[Happening]) -> None:
        """``Notifier.tell``."""


@dataclass(frozen=True, slots=True)
class Event:
    """A happening in the queue. ``number`` only grows; ``id`` is the same whenever it is sent again."""

    number: int
    id: str
    happening: Happening


class Queue(Protocol):
    """Events by number, and how far each consumer has got. Raises LocalError when its database fails."""

    @property
    def last(self) -> int:
        """Number of the newest event, 0 where there was none."""
        ...

    async def append(self, happenings: Sequence[Happening]) -> None:
        """Note these durably, in order; the oldest events go where there are too many."""
        ...

    async def read(self, after: int, n: int) -> Sequence[Event]:
        """Give up to ``n`` events with greater numbers, in order. Those past the retention are gone."""
        ...

    async def begin(self, consumer: str) -> tuple[int, bool]:
        """Give the number that a consumer has confirmed, and whether it is new: it starts behind the last."""
        ...

    async def confirm(self, consumer: str, number: int) -> None:
        """A consumer needs nothing up to this number any more."""
        ...

    async def wait(self, after: int) -> None:
        """Return when there is an event with a greater number."""
        ...


class Sink(Protocol):
    """A receiver. Both verbs raise NotificationError where it could not take it: they are called again."""

    async def send(self, events: Sequence[Event]) -> None:
        """Deliver a batch, in order. After an error the same events come again, perhaps in other batches."""
        ...

    async def missed(self) -> None:
        """Learn that events are missing before the next: it is new, or the queue could not keep them."""
        ...


OpenSink: TypeAlias = "Callable[[str, SinkSettings, str], AbstractAsyncContextManager[Sink]]"
"""What an entry point of ``remora.sinks`` is: takes the sink's name, its settings, and the node's name.

ConfigError where the settings don't do.
"""


@dataclass(frozen=True, slots=True)
class SinkStatistics:
    """Of one sink since the start. ``queued``: events that it has not confirmed, filtered ones included.

    ``delivered`` events, ``failed`` attempts, and events ``dropped`` because the queue could not keep them.
    """

    queued: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
