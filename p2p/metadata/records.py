"""``Metadata`` by SQL: tags and links, with hot answers in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, select

from p2p.core.oci.digest import Digest
from p2p.errors import StoreFullError
from p2p.metadata import rows, schema
from p2p.metadata.api import TagRow, merged
from p2p.metadata.hosting import HOSTED
from p2p.metadata.hot import Hot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.reference import Repository
    from p2p.metadata.database import Database

log = structlog.get_logger(__name__)

HOT_LINKS = 16_384
HOT_TAGS = 4_096


class Known:
    """What all parts of the metadata share: the database, and the answers that memory may give.

    Of a shared database only links of proxied repositories are kept: nobody takes those away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.shared = database.shared
        self._links: Hot[tuple[Repository, Digest], Descriptor] = Hot(HOT_LINKS)
        self._tags: Hot[tuple[Repository, str], TagRow] = Hot(0 if database.shared else HOT_TAGS)

    def _hot_link(self, repository: Repository, digest: Digest) -> Descriptor | None:
        return self._links.get((repository, digest))

    def _keep_links(self, repository: Repository, content: Iterable[Descriptor]) -> None:
        if not self._database.shared or repository.registry != HOSTED:
            for each in content:
                self._links.put((repository, each.digest), each)

    def _read_link(self, repository: Repository, found: Descriptor) -> Descriptor:
        if self._database.shared and repository.registry == HOSTED:
            return found
        return self._links.fill((repository, found.digest), found)


class SqlRecords(Known):
    """``Metadata``: a request whose answers were given before costs no thread hop."""

    async def tag(self, repository: Repository, tag: str) -> TagRow | None:
        """Look up one tag."""
        hot = self._tags.get((repository, tag))
        if hot is not None:
            return hot
        row = await self._database.do(lambda connection: _read_tag(connection, repository, tag))
        return None if row is None else self._tags.fill((repository, tag), row)

    async def put_tag(self, repository: Repository, tag: str, row: TagRow) -> None:
        """Create or move a tag and link its digest, in one transaction."""
        try:
            kept = await self._database.do(lambda connection: _write_tag(connection, repository, tag, row))
        except StoreFullError as error:
            self._forgive(error)
            kept = merged(self._hot_link(repository, row.digest), row.target)
        self._keep_links(repository, [kept])
        self._tags.put((repository, tag), row)

    async def remove_tag(self, repository: Repository, tag: str) -> None:
        """Remove a tag if it is there."""
        self._tags.drop((repository, tag))
        await self._database.do(lambda connection: delete_tag(connection, repository, tag))
        self._tags.drop((repository, tag))  # what a reader put there while the row was going

    async def tags(self, repository: Repository, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` tags after ``last``, in ASCII order."""
        return await self._database.do(lambda connection: _read_tags(connection, repository, n, last))

    async def repositories(self, registry: str, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` paths of a registry's repositories that have a tag, after ``last``, in order."""
        return await self._database.do(lambda connection: _read_repositories(connection, registry, n, last))

    async def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Whether the digest was linked to the repository."""
        return await self.describe(repository, digest) is not None

    async def describe(self, repository: Repository, digest: Digest) -> Descriptor | None:
        """Give digest, size and media type as linked, or None."""
        hot = self._hot_link(repository, digest)
        if hot is not None:
            return hot
        found = await self._database.do(
            lambda connection: rows.linked(connection, rows.repository_id(connection, repository), digest)
        )
        return None if found is None else self._read_link(repository, found)

    async def link(self, repository: Repository, content: Sequence[Descriptor]) -> None:
        """Record that the repository reaches these; no thread hop where nothing is new."""
        new = [each for each in content if self._is_news(repository, each)]
        if not new:
            return
        try:
            kept = await self._database.do(
                lambda connection: rows.write_links(
                    connection, rows.made_repository(connection, repository), new
                )
            )
        except StoreFullError as error:
            self._forgive(error)
            kept = [merged(self._hot_link(repository, each.digest), each) for each in new]
        self._keep_links(repository, kept)

    def _forgive(self, error: StoreFullError) -> None:
        # Pulls go on without room on the disk: what can be asked again anew is kept in memory only.
        log.warning("metadata kept in memory only", cause=str(error))

    def _is_news(self, repository: Repository, new: Descriptor) -> bool:
        known = self._hot_link(repository, new.digest)
        return known is None or merged(known, new) != known


def write_tag(connection: Connection, repository: int, tag: str, row: TagRow) -> None:
    """Create or move a tag; its digest must be linked."""
    values = {
        "digest": str(row.digest),
        "media_type": row.media_type,
        "size": row.size,
        "confirmed_at": rows.stamp(row.confirmed_at),
    }
    connection.execute(
        rows.insertion(connection, schema.tag)
        .values(repository=repository, name=tag, **values)
        .on_conflict_do_update(index_elements=["repository", "name"], set_=values)
    )


def delete_tag(connection: Connection, repository: Repository, tag: str) -> Digest | None:
    """Remove a tag; gives what it pointed to."""
    where = schema.tag.c
    pointed = connection.execute(
        delete(schema.tag)
        .where(where.repository == rows.repository_id(connection, repository), where.name == tag)
        .returning(where.digest)
    ).scalar()
    return None if pointed is None else Digest.parse(pointed)


def _read_tag(connection: Connection, repository: Repository, tag: str) -> TagRow | None:
    where = schema.tag.c
    row = connection.execute(
        select(schema.tag).where(
            where.repository == rows.repository_id(connection, repository), where.name == tag
        )
    ).first()
    if row is None:
        return None
    return TagRow(
        digest=Digest.parse(row.digest),
        media_type=row.media_type,
        size=row.size,
        confirmed_at=rows.moment(row.confirmed_at),
    )


def _write_tag(connection: Connection, repository: Repository, tag: str, row: TagRow) -> Descriptor:
    owner = rows.made_repository(connection, repository)
    (kept,) = rows.write_links(connection, owner, [row.target])
    write_tag(connection, owner, tag, row)
    return kept


def _read_tags(connection: Connection, repository: Repository, n: int, last: str) -> list[str]:
    where = schema.tag.c
    return list(
        connection.execute(
            select(where.name)
            .where(where.repository == rows.repository_id(connection, repository), where.name > last)
            .order_by(where.name)
            .limit(n)
        ).scalars()
    )


def _read_repositories(connection: Connection, registry: str, n: int, last: str) -> list[str]:
    where = schema.repository.c
    tagged = select(schema.tag.c.name).where(schema.tag.c.repository == where.id).exists()
    return list(
        connection.execute(
            select(where.path)
            .where(where.registry == registry, where.path > last, tagged)
            .order_by(where.path)
            .limit(n)
        ).scalars()
    )
