"""Steps that the records share, each within a transaction that is under way.

On PostgreSQL every transaction that makes or takes away a need for a blob (a link, a reference, a lease, a
queue entry) first locks the blob's row, in share; a review locks it alone. So a review sees all of a push
or nothing of it. Order of locks everywhere: the repository, the note of a put, blobs by digest, then the
rest. SQLite has one writer: there, asking for locks does nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.metadata import schema
from p2p.metadata.api import merged
from p2p.metadata.database import ConflictError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Place

NOW = 0
"""A review time that is always past."""
MANY = 500
"""Values in one question; SQLite's oldest limit is 999."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def stamp(when: datetime) -> int:
    """Write an aware time."""
    return (when - _EPOCH) // _MICROSECOND


def moment(written: int) -> datetime:
    """Read what ``stamp`` wrote."""
    return _EPOCH + written * _MICROSECOND


def insertion(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Begin an INSERT that can say what a conflict means."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def repository_id(connection: Connection, repository: Repository) -> int | None:
    """Look a repository up."""
    where = schema.repository.c
    return connection.execute(
        select(where.id).where(where.registry == repository.registry, where.path == repository.path)
    ).scalar()


def made_repository(connection: Connection, repository: Repository) -> int:
    """Look a repository up, or make it."""
    known = repository_id(connection, repository)
    if known is not None:
        return known
    made = connection.execute(
        insertion(connection, schema.repository)
        .values(registry=repository.registry, path=repository.path)
        .on_conflict_do_nothing()
        .returning(schema.repository.c.id)
    ).scalar()
    if made is None:  # another front end has made it since we looked
        made = repository_id(connection, repository)
    if made is None:
        raise ConflictError
    return made


def lock_repository(connection: Connection, repository: int, *, alone: bool = False) -> None:
    """Let no other transaction that does the same into this repository before this one ends.

    ``alone``: nor any that links something to it.
    """
    where = schema.repository.c
    question = select(where.id).where(where.id == repository)
    if connection.execute(question.with_for_update(key_share=not alone)).scalar() is None:
        raise ConflictError


def lock_blobs(connection: Connection, digests: Iterable[Digest]) -> dict[Digest, int]:
    """Give the state of the blobs that have a row, and keep reviews from them until this ends."""
    wanted = sorted({str(digest) for digest in digests})
    where = schema.blob.c
    found: dict[Digest, int] = {}
    for start in range(0, len(wanted), MANY):
        rows = connection.execute(
            select(where.digest, where.state)
            .where(where.digest.in_(wanted[start : start + MANY]))
            .order_by(where.digest)
            .with_for_update(read=True)
        )
        found |= {Digest.parse(row.digest): row.state for row in rows}
    return found


def own_blob(connection: Connection, digest: Digest, size: int, place: Place | None = None) -> bool:
    """Make a blob's row or lock the one that is there. False where its bytes are being deleted.

    With a place: False where that is not as told, and nothing was written then; see ``BlobRecords.add_blob``.
    """
    if place is not None:
        return _own_placed(connection, digest, size, place)
    connection.execute(
        insertion(connection, schema.blob)
        .values(digest=str(digest), size=size, state=schema.KEPT)
        .on_conflict_do_nothing()
    )
    state = lock_blobs(connection, (digest,)).get(digest)
    if state is None:  # it was there for the insertion and is gone now
        raise ConflictError
    return state == schema.KEPT


def _own_placed(connection: Connection, digest: Digest, size: int, place: Place) -> bool:
    where = schema.blob.c
    this = where.digest == str(digest)
    if not place.new:
        # In share, as for any other need of the blob; a kept row is never moved from one place to another.
        states = lock_blobs(connection, (digest,))
        found = connection.execute(select(where.location).where(this)).scalar()
        return states.get(digest) == schema.KEPT and found == place.key
    if not noted(connection, place.key):
        return False
    values = {"size": size, "state": schema.KEPT, "location": place.key}
    made = connection.execute(
        insertion(connection, schema.blob)
        .values(digest=str(digest), **values)
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(where.digest)
    ).first()
    if made is None:
        row = connection.execute(select(where.state, where.location).where(this).with_for_update()).first()
        if row is None:  # it was there for the insertion and is gone now
            raise ConflictError
        if row.state == schema.KEPT and row.location:
            return True  # the note stays: what was put is nobody's
        connection.execute(update(schema.blob).where(this).values(**values))
    unnote(connection, place.key)
    return True


def noted(connection: Connection, key: str) -> bool:
    """Whether a put under this key was noted and still may count; no other transaction decides it now."""
    where = schema.content_put.c
    question = select(where.location).where(where.location == key).with_for_update()
    return connection.execute(question).first() is not None


def unnote(connection: Connection, key: str) -> None:
    """Take the note of a put away: its key is a row's place now."""
    connection.execute(delete(schema.content_put).where(schema.content_put.c.location == key))


def linked(connection: Connection, repository: int | None, digest: Digest) -> Descriptor | None:
    """Describe a link."""
    where = schema.link.c
    row = connection.execute(
        select(where.media_type, where.size).where(
            where.repository == repository, where.digest == str(digest)
        )
    ).first()
    return None if row is None else Descriptor(media_type=row.media_type, digest=digest, size=row.size)


def links(connection: Connection, repository: int, digests: Collection[Digest]) -> dict[Digest, Descriptor]:
    """Describe those that are linked."""
    where = schema.link.c
    wanted = sorted(str(digest) for digest in digests)
    found: dict[Digest, Descriptor] = {}
    for start in range(0, len(wanted), MANY):
        rows = connection.execute(
            select(where.digest, where.media_type, where.size).where(
                where.repository == repository, where.digest.in_(wanted[start : start + MANY])
            )
        )
        for row in rows:
            digest = Digest.parse(row.digest)
            found[digest] = Descriptor(media_type=row.media_type, digest=digest, size=row.size)
    return found


def write_links(
    connection: Connection, repository: int, content: Sequence[Descriptor], lease: datetime | None = None
) -> list[Descriptor]:
    """Link, merging with what was linked; a lease is made or extended, never shortened."""
    known = links(connection, repository, {each.digest for each in content})
    kept: dict[Digest, Descriptor] = {}
    for each in content:
        kept[each.digest] = merged(kept.get(each.digest, known.get(each.digest)), each)
    until = schema.link.c.leased_until
    for digest in sorted(kept, key=str):
        values: dict[str, object] = {"media_type": kept[digest].media_type, "size": kept[digest].size}
        written = insertion(connection, schema.link)
        leased: Mapping[str, object] = {}
        if lease is not None:
            values["leased_until"] = stamp(lease)
            leased = {
                "leased_until": case((until > written.excluded.leased_until, until), else_=stamp(lease))
            }
        connection.execute(
            written.values(repository=repository, digest=str(digest), **values).on_conflict_do_update(
                index_elements=["repository", "digest"], set_={**values, **leased}
            )
        )
    return [kept[each.digest] for each in content]


def queue(connection: Connection, digests: Iterable[Digest], review_after: int) -> None:
    """Have blobs reviewed at that time or earlier; their rows must be locked and kept."""
    known = schema.gc_queue.c.review_after
    for digest in sorted(map(str, digests)):
        written = insertion(connection, schema.gc_queue)
        earlier = case((known < written.excluded.review_after, known), else_=written.excluded.review_after)
        connection.execute(
            written.values(digest=digest, review_after=review_after, attempts=0).on_conflict_do_update(
                index_elements=["digest"], set_={"review_after": earlier}
            )
        )


def queue_kept(connection: Connection, states: Mapping[Digest, int], review_after: int = NOW) -> None:
    """Have those reviewed that ``lock_blobs`` found and that are not being deleted already."""
    queue(connection, (d for d, state in states.items() if state == schema.KEPT), review_after)
