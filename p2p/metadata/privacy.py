"""``PrivateRecords`` by SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, insert, literal, select, update

from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.metadata import rows, schema
from p2p.metadata.private import OWN_SUFFIX, VisibilityRow
from p2p.metadata.records import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

_REPOSITORY = schema.repository.c
_CONFINED = schema.confined.c
_LINK = schema.link.c
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class SqlPrivacy(Known):
    """``PrivateRecords``. Nothing is answered from memory here: whoever asks keeps what it was told."""

    async def visibility(self, repository: Repository) -> VisibilityRow | None:
        """Look up what was found out; None where it never was."""
        return await self._database.do(lambda connection: _read(connection, repository))

    async def put_visibility(self, repository: Repository, row: VisibilityRow) -> None:
        """Keep what was found out."""

        def write(connection: Connection) -> None:
            owner = rows.made_repository(connection, repository)
            _judge(connection, _REPOSITORY.id == owner, row)

        await self._database.do(write)

    async def unjudged(self) -> Sequence[str]:
        """Give the registries with repositories that were never judged, this node's own aside."""
        question = select(_REPOSITORY.registry).where(_never_judged()).distinct()
        return await self._database.do(lambda connection: list(connection.execute(question).scalars()))

    async def distrust(self, registry: str) -> None:
        """Take a registry's repositories that were never judged for private, and confine what they reach."""

        def write(connection: Connection) -> None:
            meant = (_REPOSITORY.registry == registry, _never_judged())
            owners = list(connection.execute(select(_REPOSITORY.id).where(*meant)).scalars())
            for owner in owners:
                _confine_all(connection, owner)
                _judge(connection, _REPOSITORY.id == owner, VisibilityRow(private=True, judged_at=LONG_AGO))

        await self._database.do(write)

    async def confined(self) -> Sequence[tuple[Digest, Repository, bool]]:
        """Give all, each by repository, and whether that was proven to reach it; not what is hosted too."""
        owner = schema.repository.alias()
        hosted = (
            exists()
            .where(_LINK.digest == _CONFINED.digest, _LINK.repository == owner.c.id)
            .where(owner.c.registry.endswith(OWN_SUFFIX))
        )
        question = (
            select(_CONFINED.digest, _REPOSITORY.registry, _REPOSITORY.path, _CONFINED.proven)
            .where(_CONFINED.repository == _REPOSITORY.id, ~hosted)
            .order_by(_CONFINED.digest, _CONFINED.repository)
        )
        found = await self._database.do(lambda connection: connection.execute(question).all())
        return [
            (Digest.parse(row.digest), Repository(row.registry, row.path), bool(row.proven)) for row in found
        ]

    async def confine(self, repository: Repository, digest: Digest, *, proven: bool) -> None:
        """Confine a digest that comes from a repository; proven once is proven for good."""

        def write(connection: Connection) -> None:
            owner = rows.made_repository(connection, repository)
            written = rows.insertion(connection, schema.confined).values(
                digest=str(digest), repository=owner, proven=int(proven)
            )
            key = ["digest", "repository"]
            if proven:
                written = written.on_conflict_do_update(index_elements=key, set_={"proven": 1})
            else:
                written = written.on_conflict_do_nothing(index_elements=key)
            connection.execute(written)

        # It must be there before the bytes are: a crash between would have them announced.
        await self._database.do(write, durable=True)

    async def confine_all(self, repository: Repository) -> Sequence[Digest]:
        """Confine what is linked to a repository, none of it proven; gives the digests."""

        def write(connection: Connection) -> list[Digest]:
            owner = rows.repository_id(connection, repository)
            return [] if owner is None else _confine_all(connection, owner)

        return await self._database.do(write, durable=True)

    async def release(self, digest: Digest) -> None:
        """End it: something public reaches the digest."""
        change = delete(schema.confined).where(_CONFINED.digest == str(digest))
        await self._database.do(lambda connection: connection.execute(change))

    async def release_all(self, repository: Repository) -> Sequence[Digest]:
        """A repository is public now; gives the digests that are no longer confined."""
        return await self._database.do(lambda connection: _release_all(connection, repository))


def _never_judged() -> ColumnElement[bool]:
    return _REPOSITORY.private.is_(None) & ~_REPOSITORY.registry.endswith(OWN_SUFFIX)


def _read(connection: Connection, repository: Repository) -> VisibilityRow | None:
    row = connection.execute(
        select(_REPOSITORY.private, _REPOSITORY.judged_at).where(
            _REPOSITORY.registry == repository.registry, _REPOSITORY.path == repository.path
        )
    ).first()
    if row is None or row.private is None:
        return None
    return VisibilityRow(bool(row.private), rows.moment(row.judged_at))


def _judge(connection: Connection, which: ColumnElement[bool], row: VisibilityRow) -> None:
    values = {"private": int(row.private), "judged_at": rows.stamp(row.judged_at)}
    connection.execute(update(schema.repository).where(which).values(**values))


def _confine_all(connection: Connection, owner: int) -> list[Digest]:
    there = exists().where(_CONFINED.repository == owner, _CONFINED.digest == _LINK.digest)
    connection.execute(
        insert(schema.confined).from_select(
            ["digest", "repository", "proven"],
            select(_LINK.digest, _LINK.repository, literal(0)).where(_LINK.repository == owner, ~there),
        )
    )
    found = connection.execute(select(_CONFINED.digest).where(_CONFINED.repository == owner)).scalars()
    return [Digest.parse(each) for each in found]


def _release_all(connection: Connection, repository: Repository) -> list[Digest]:
    owner = rows.repository_id(connection, repository)
    known = list(
        connection.execute(
            select(_CONFINED.digest, _CONFINED.proven).where(_CONFINED.repository == owner)
        ).all()
    )
    connection.execute(delete(schema.confined).where(_CONFINED.repository == owner))
    released = []
    for row in known:
        others = _CONFINED.digest == row.digest
        if row.proven:
            connection.execute(delete(schema.confined).where(others))
        elif connection.execute(select(_CONFINED.digest).where(others).limit(1)).first() is not None:
            continue
        released.append(Digest.parse(row.digest))
    return released
