"""``GarbageRecords`` by SQL: the review queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, not_, or_, select, update

from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.metadata import rows, schema
from p2p.metadata.hosting import HOSTED, GarbageStatistics, Placed
from p2p.metadata.needs import leased, needed
from p2p.metadata.records import Known

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

_BLOB = schema.blob.c
_LINK = schema.link.c
_QUEUE = schema.gc_queue.c


class SqlGarbage(Known):
    """``GarbageRecords``."""

    async def collects(self) -> bool:
        """Whether this front end is the one that reviews and deletes."""
        return await self._database.collects()

    async def due(self, now: datetime, n: int) -> Sequence[Digest]:
        """Give up to ``n`` digests to be reviewed now, the longest overdue first."""
        question = (
            select(_QUEUE.digest)
            .where(_QUEUE.review_after <= rows.stamp(now))
            .order_by(_QUEUE.review_after, _QUEUE.digest)
            .limit(n)
        )
        found = await self._database.do(lambda connection: connection.execute(question).scalars().all())
        return [Digest.parse(each) for each in found]

    async def claim(self, digest: Digest, now: datetime) -> Placed | None:
        """Review one, in one transaction: drop links that nothing needs; say if its bytes may go."""
        claimed, dropped = await self._database.do(
            lambda connection: _claim(connection, digest, rows.stamp(now)), durable=True
        )
        for repository in dropped:
            self._links.drop((repository, digest))
        return claimed

    async def reviewed(self, digest: Digest, now: datetime) -> int | None:
        """Tell what ``claim`` would give: it is done, and rolled back."""

        def review(connection: Connection) -> int | None:
            with connection.begin_nested() as savepoint:
                claimed, _ = _claim(connection, digest, rows.stamp(now))
                savepoint.rollback()
            return None if claimed is None else claimed.size

        return await self._database.do(review)

    async def collected(self, digest: Digest, key: str = "") -> None:
        """Its bytes at this place are gone: drop the row, if it is still that which was claimed."""
        # State and place are asked again: what was pushed anew meanwhile is somebody's.
        change = delete(schema.blob).where(
            _BLOB.digest == str(digest), _BLOB.state == schema.DELETING, _BLOB.location == key
        )
        await self._database.do(lambda connection: connection.execute(change))

    async def owned(self, n: int, last: str = "") -> Sequence[Digest]:
        """Give up to ``n`` owned digests after ``last`` (as text), in order."""
        question = (
            select(_BLOB.digest)
            .where(_BLOB.digest > last, _BLOB.state != schema.DELETING)
            .order_by(_BLOB.digest)
            .limit(n)
        )
        found = await self._database.do(lambda connection: connection.execute(question).scalars().all())
        return [Digest.parse(each) for each in found]

    async def deleting(self) -> Sequence[Placed]:
        """What a crash left between ``claim`` and ``collected``."""
        question = (
            select(_BLOB.digest, _BLOB.size, _BLOB.location)
            .where(_BLOB.state == schema.DELETING)
            .order_by(_BLOB.digest)
        )
        found = await self._database.do(lambda connection: connection.execute(question).all())
        return [Placed(Digest.parse(row.digest), row.size, row.location) for row in found]

    async def garbage(self, now: datetime) -> GarbageStatistics:
        """Measure the queue."""
        question = select(
            func.count(),
            func.count().filter(_QUEUE.review_after <= rows.stamp(now)),
            func.coalesce(func.sum(_QUEUE.attempts), 0),
        ).select_from(schema.gc_queue)
        queued, late, retries = await self._database.do(lambda connection: connection.execute(question).one())
        return GarbageStatistics(int(queued), int(late), int(retries))


def _claim(connection: Connection, digest: Digest, now: int) -> tuple[Placed | None, Sequence[Repository]]:
    # Alone: whoever makes or takes away a need for the blob has locked it too, and is done or waits.
    blob = connection.execute(
        select(_BLOB.size, _BLOB.state, _BLOB.location).where(_BLOB.digest == str(digest)).with_for_update()
    ).first()
    if blob is None or blob.state == schema.DELETING:
        return None, ()
    dropped = _drop_idle_links(connection, digest, now)
    this = _LINK.digest == str(digest)
    if connection.execute(select(_LINK.digest).where(this, or_(needed(), leased(now))).limit(1)).first():
        # Leases on links that something needs anyway are no reason to come again.
        next_review = connection.execute(
            select(func.min(_LINK.leased_until)).where(this, leased(now), not_(needed()))
        ).scalar()
        _put_off(connection, digest, next_review)
        return None, dropped
    _put_off(connection, digest, None)
    connection.execute(update(schema.blob).where(_BLOB.digest == str(digest)).values(state=schema.DELETING))
    return Placed(digest, int(blob.size), blob.location), dropped


def _drop_idle_links(connection: Connection, digest: Digest, now: int) -> Sequence[Repository]:
    where = schema.repository.c
    idle = connection.execute(
        select(where.id, where.registry, where.path)
        .join_from(schema.link, schema.repository, where.id == _LINK.repository)
        .where(_LINK.digest == str(digest), where.registry == HOSTED, not_(needed()), not_(leased(now)))
    ).all()
    for start in range(0, len(idle), rows.MANY):
        some = [row.id for row in idle[start : start + rows.MANY]]
        connection.execute(delete(schema.link).where(_LINK.digest == str(digest), _LINK.repository.in_(some)))
    return [Repository(row.registry, row.path) for row in idle]


def _put_off(connection: Connection, digest: Digest, until: int | None) -> None:
    this = _QUEUE.digest == str(digest)
    if until is None:
        connection.execute(delete(schema.gc_queue).where(this))
        return
    rows.queue(connection, (digest,), until)
    connection.execute(
        update(schema.gc_queue).where(this).values(review_after=until, attempts=_QUEUE.attempts + 1)
    )
