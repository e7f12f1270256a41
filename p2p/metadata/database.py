"""What the records are written to: something that runs a function as one transaction, off the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

T = TypeVar("T")


class Database(Protocol):
    """One database, embedded or shared."""

    shared: bool
    """Whether others write to it: then what they may change is never answered from memory."""

    async def do(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run ``work`` in a worker thread as one transaction; it may run again after a conflict.

        ``durable``: a power cut after this returned does not undo it. Raises LocalError when the database
        fails.
        """
        ...

    async def collects(self) -> bool:
        """See ``GarbageRecords.collects``."""
        ...


class ConflictError(Exception):
    """Raised by ``work`` where another transaction came between its steps: it is run again."""
