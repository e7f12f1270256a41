"""``PlaceRecords`` and ``PutRecords`` by SQL: where blobs lie in the content that front ends share."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from p2p.core.oci.digest import Digest
from p2p.metadata import rows, schema
from p2p.metadata.hosting import Placed
from p2p.metadata.records import Known

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from p2p.metadata.hosting import Place

_BLOB = schema.blob.c
_PUT = schema.content_put.c
_OWNER = schema.content_owner.c


class SqlPlaces(Known):
    """``PlaceRecords`` and ``PutRecords``. Never answered from memory."""

    async def place(self, digest: Digest) -> str | None:
        """Give the place of a blob that is owned; "": none; None: not owned, or being deleted."""
        question = select(_BLOB.location).where(_BLOB.digest == str(digest), _BLOB.state == schema.KEPT)
        return await self._database.do(lambda connection: connection.execute(question).scalar())

    async def places(self, n: int, last: str = "") -> Sequence[Placed]:
        """Give up to ``n`` owned blobs after the digest ``last`` (as text), in order."""
        question = (
            select(_BLOB.digest, _BLOB.size, _BLOB.location)
            .where(_BLOB.digest > last, _BLOB.state == schema.KEPT)
            .order_by(_BLOB.digest)
            .limit(n)
        )
        found = await self._database.do(lambda connection: connection.execute(question).all())
        return [Placed(Digest.parse(row.digest), row.size, row.location) for row in found]

    async def relocate(self, digest: Digest, place: Place) -> bool:
        """Give a new place to an owned blob that has none."""
        return await self._database.do(
            lambda connection: _relocate(connection, digest, place.key), durable=True
        )

    async def intend(self, key: str, now: datetime) -> None:
        """Note a new key, before anything is put under it."""
        note = schema.content_put.insert().values(location=key, since=rows.stamp(now))
        await self._database.do(lambda connection: connection.execute(note), durable=True)

    async def intents(self, before: datetime, n: int) -> Sequence[str]:
        """Give up to ``n`` keys that were noted before, the oldest first."""
        question = (
            select(_PUT.location)
            .where(_PUT.since <= rows.stamp(before))
            .order_by(_PUT.since, _PUT.location)
            .limit(n)
        )
        return await self._database.do(lambda connection: connection.execute(question).scalars().all())

    async def doomed(self, keys: Sequence[str], before: datetime) -> Sequence[str]:
        """Take the notes made until ``before`` away; gives those that can't be needed any more."""
        return await self._database.do(
            lambda connection: _doomed(connection, keys, rows.stamp(before)), durable=True
        )

    async def any_placed(self) -> bool:
        """Whether any blob lies in shared content, owned or being deleted."""
        question = select(_BLOB.location).where(_BLOB.location != "").limit(1)
        return await self._database.do(lambda connection: connection.execute(question).first() is not None)

    async def content_owner(self) -> str:
        """Give this database's name as the owner of its shared content."""
        return await self._database.do(_owner, durable=True)


def _relocate(connection: Connection, digest: Digest, key: str) -> bool:
    if not rows.noted(connection, key):
        return False
    this = (_BLOB.digest == str(digest), _BLOB.state == schema.KEPT, _BLOB.location == "")
    moved = connection.execute(
        update(schema.blob).where(*this).values(location=key).returning(_BLOB.digest)
    ).first()
    if moved is None:
        return False
    rows.unnote(connection, key)
    return True


def _doomed(connection: Connection, keys: Sequence[str], before: int) -> Sequence[str]:
    found: list[str] = []
    for start in range(0, len(keys), rows.MANY):
        some = sorted(keys[start : start + rows.MANY])
        # First the notes: who was about to count on one waits here, and finds it gone. Then what has come to
        # be a row's place before.
        connection.execute(delete(schema.content_put).where(_PUT.location.in_(some), _PUT.since <= before))
        kept = {
            *connection.execute(select(_PUT.location).where(_PUT.location.in_(some))).scalars(),
            # As the index that answers it has only those that lie somewhere.
            *connection.execute(
                select(_BLOB.location).where(_BLOB.location.in_(some), _BLOB.location != "")
            ).scalars(),
        }
        found += [key for key in some if key not in kept]
    return found


def _owner(connection: Connection) -> str:
    connection.execute(
        rows.insertion(connection, schema.content_owner)
        .values(one=1, id=str(uuid.uuid4()))
        .on_conflict_do_nothing()
    )
    return str(connection.execute(select(_OWNER.id).where(_OWNER.one == 1)).scalar_one())
