"""The seam of notifications: what happened, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

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
