"""``UploadRecords`` by SQL: uploads under way, by session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from p2p.core.oci.reference import Repository
from p2p.metadata import rows, schema
from p2p.metadata.hosting import UploadRow
from p2p.metadata.records import Known

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row

_UPLOAD = schema.upload_session.c


class SqlUploads(Known):
    """``UploadRecords``."""

    async def begin_upload(self, row: UploadRow) -> None:
        """Record a new session."""
        values = {
            "session": row.session,
            "registry": row.repository.registry,
            "path": row.repository.path,
            "expires": rows.stamp(row.expires),
        }
        await self._database.do(
            lambda connection: connection.execute(insert(schema.upload_session).values(**values))
        )

    async def upload(self, session: str) -> UploadRow | None:
        """Look a session up."""
        question = select(schema.upload_session).where(_UPLOAD.session == session)
        row = await self._database.do(lambda connection: connection.execute(question).first())
        return None if row is None else _read(row)

    async def extend_upload(self, session: str, expires: datetime) -> None:
        """It goes on: it ends later."""
        change = (
            update(schema.upload_session)
            .where(_UPLOAD.session == session)
            .values(expires=rows.stamp(expires))
        )
        await self._database.do(lambda connection: connection.execute(change))

    async def end_upload(self, session: str) -> bool:
        """Forget a session; False where it was not there."""
        change = delete(schema.upload_session).where(_UPLOAD.session == session).returning(_UPLOAD.session)
        return await self._database.do(lambda connection: connection.execute(change).first() is not None)

    async def expired_uploads(self, now: datetime, n: int) -> Sequence[UploadRow]:
        """Give up to ``n`` sessions whose time is over, the oldest first."""
        question = (
            select(schema.upload_session)
            .where(_UPLOAD.expires <= rows.stamp(now))
            .order_by(_UPLOAD.expires, _UPLOAD.session)
            .limit(n)
        )
        found = await self._database.do(lambda connection: connection.execute(question).all())
        return [_read(row) for row in found]


def _read(row: Row[Any]) -> UploadRow:
    return UploadRow(row.session, Repository(row.registry, row.path), rows.moment(row.expires))
