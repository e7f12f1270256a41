"""``BlobRecords`` by SQL: blobs owned here, by repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, delete, exists, select, update

from p2p.core.oci.descriptor import Descriptor
from p2p.metadata import rows, schema
from p2p.metadata.needs import needed
from p2p.metadata.records import Known

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Place

_LINK = schema.link.c


class SqlBlobs(Known):
    """``BlobRecords``. Never answered from memory: what is said here keeps or frees bytes."""

    async def add_blob(
        self, repository: Repository, blob: Descriptor, *, lease: datetime, place: Place | None = None
    ) -> bool:
        """Record a blob whose bytes are durable, link it, and keep it until ``lease`` at least."""
        kept = await self._database.do(
            lambda connection: _add(connection, repository, blob, lease, place), durable=True
        )
        if kept is not None:
            self._keep_links(repository, [kept])
        return kept is not None

    async def mount(
        self, repository: Repository, digest: Digest, source: Repository | None, *, lease: datetime
    ) -> Descriptor | None:
        """Link an owned blob that ``source`` reaches (None: any repository of the same registry)."""
        kept = await self._database.do(
            lambda connection: _mount(connection, repository, digest, source, lease), durable=True
        )
        if kept is not None:
            self._keep_links(repository, [kept])
        return kept

    async def hold(self, repository: Repository, digest: Digest, *, lease: datetime) -> Descriptor | None:
        """Describe a linked digest and extend its lease."""
        found = await self._database.do(lambda connection: _hold(connection, repository, digest, lease))
        return None if found is None else self._read_link(repository, found)

    async def remove_blob(self, repository: Repository, digest: Digest) -> bool | None:
        """Unlink a blob and queue it for review. None: not linked. False: a manifest here needs it."""
        removed = await self._database.do(
            lambda connection: _remove(connection, repository, digest), durable=True
        )
        if removed:
            self._links.drop((repository, digest))
        return removed


def _add(
    connection: Connection, repository: Repository, blob: Descriptor, lease: datetime, place: Place | None
) -> Descriptor | None:
    owner = rows.made_repository(connection, repository)
    if not rows.own_blob(connection, blob.digest, blob.size, place):
        return None
    return _leased_link(connection, owner, blob, lease)


def _leased_link(connection: Connection, owner: int, blob: Descriptor, lease: datetime) -> Descriptor:
    (kept,) = rows.write_links(connection, owner, [blob], lease)
    rows.queue(connection, (blob.digest,), rows.stamp(lease))
    return kept


def _mount(
    connection: Connection,
    repository: Repository,
    digest: Digest,
    source: Repository | None,
    lease: datetime,
) -> Descriptor | None:
    if rows.lock_blobs(connection, (digest,)).get(digest) != schema.KEPT:
        return None
    if source is None:
        where = schema.repository.c
        # Not a join: SQLite would begin with all repositories of the registry.
        hosted = exists().where(where.id == _LINK.repository, where.registry == repository.registry)
        found = connection.execute(
            select(_LINK.media_type, _LINK.size).where(_LINK.digest == str(digest), hosted).limit(1)
        ).first()
        blob = None if found is None else Descriptor(found.media_type, digest, found.size)
    else:
        blob = rows.linked(connection, rows.repository_id(connection, source), digest)
    if blob is None:
        return None
    return _leased_link(connection, rows.made_repository(connection, repository), blob, lease)


def _hold(
    connection: Connection, repository: Repository, digest: Digest, lease: datetime
) -> Descriptor | None:
    state = rows.lock_blobs(connection, (digest,)).get(digest)
    owner = rows.repository_id(connection, repository)
    found = rows.linked(connection, owner, digest)
    if found is None or state == schema.DELETING:
        return None
    if state == schema.KEPT:
        until, later = _LINK.leased_until, rows.stamp(lease)
        connection.execute(
            update(schema.link)
            .where(_LINK.repository == owner, _LINK.digest == str(digest))
            .values(leased_until=case((until > later, until), else_=later))
        )
    return found


def _remove(connection: Connection, repository: Repository, digest: Digest) -> bool | None:
    owner = rows.repository_id(connection, repository)
    if owner is None:
        return None
    rows.lock_repository(connection, owner)
    states = rows.lock_blobs(connection, (digest,))
    where = (_LINK.repository == owner, _LINK.digest == str(digest))
    wanted = connection.execute(select(needed()).select_from(schema.link).where(*where)).scalar()
    if wanted is None:
        return None
    if wanted:
        return False
    connection.execute(delete(schema.link).where(*where))
    rows.queue_kept(connection, states)
    return True
