"""``ChangeRecords`` by SQL: which repository changed when, and what it has now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, cast, func, select, tuple_, update

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.metadata import rows, schema
from p2p.metadata.hosting import Changed
from p2p.metadata.records import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

_LINK = schema.link.c
_MANIFEST = schema.manifest.c
_REPOSITORY = schema.repository.c
_TAG = schema.tag.c


class SqlChanges(Known):
    """``ChangeRecords``. Never answered from memory."""

    async def changes(self, registry: str, n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        """Give up to ``n`` repositories by (time of the last change, path), those after ``after``."""
        question = (
            select(_REPOSITORY.path, _REPOSITORY.changed)
            .where(
                _REPOSITORY.registry == registry,
                _REPOSITORY.changed.is_not(None),
                tuple_(_REPOSITORY.changed, _REPOSITORY.path) > tuple_(*after),
            )
            .order_by(_REPOSITORY.changed, _REPOSITORY.path)
            .limit(n)
        )
        found = await self._database.do(lambda connection: connection.execute(question).all())
        return [Changed(Repository(registry, row.path), row.changed) for row in found]

    async def manifests(self, repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        """Give up to ``n`` manifests by digest (as text) after ``last``."""

        def question(owner: int | None) -> Select[tuple[str, str, int]]:
            return (
                select(_MANIFEST.digest, _LINK.media_type, _LINK.size)
                .where(
                    _MANIFEST.repository == owner,
                    _MANIFEST.digest > last,
                    _LINK.repository == _MANIFEST.repository,
                    _LINK.digest == _MANIFEST.digest,
                )
                .order_by(_MANIFEST.digest)
                .limit(n)
            )

        found = await self._database.do(
            lambda connection: connection.execute(question(rows.repository_id(connection, repository))).all()
        )
        return [Descriptor(row.media_type, Digest.parse(row.digest), row.size) for row in found]

    async def tagged(
        self, repository: Repository, n: int, last: str = ""
    ) -> Sequence[tuple[str, Descriptor]]:
        """Give up to ``n`` tags after ``last``, in ASCII order, with what each points to."""

        def question(owner: int | None) -> Select[tuple[str, str, str, int]]:
            return (
                select(_TAG.name, _TAG.digest, _TAG.media_type, _TAG.size)
                .where(_TAG.repository == owner, _TAG.name > last)
                .order_by(_TAG.name)
                .limit(n)
            )

        found = await self._database.do(
            lambda connection: connection.execute(question(rows.repository_id(connection, repository))).all()
        )
        return [(row.name, Descriptor(row.media_type, Digest.parse(row.digest), row.size)) for row in found]


def touch(connection: Connection, repository: int, registry: str) -> None:
    """Write down that a repository changed: the last step of a transaction that has locked its row.

    After every change that this transaction can see, whatever the clock says.
    """
    newest = connection.execute(
        select(_REPOSITORY.changed)
        .where(_REPOSITORY.registry == registry, _REPOSITORY.changed.is_not(None))
        .order_by(_REPOSITORY.changed.desc())
        .limit(1)
    ).scalar()
    connection.execute(
        update(schema.repository)
        .where(_REPOSITORY.id == repository)
        .values(changed=max(_clock(connection), (newest or 0) + 1))
    )


def _clock(connection: Connection) -> int:
    if connection.dialect.name != "postgresql":
        return rows.stamp(datetime.now(UTC))
    # The server's: the clocks of front ends differ. Not that of the transaction's begin, before the locks.
    now = cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
    return int(connection.execute(select(now)).scalar_one())
