"""``ManifestRecords`` by SQL: manifests, what they refer to, and their tags."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.metadata import rows, schema
from p2p.metadata.api import TagRow
from p2p.metadata.changes import touch
from p2p.metadata.hosting import Accepted, artifact_type_of
from p2p.metadata.needs import content_of_image
from p2p.metadata.records import Known, delete_tag, write_tag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import Pushed

_LINK = schema.link.c
_MANIFEST = schema.manifest.c
_REFERENCE = schema.manifest_reference.c
_TAG = schema.tag.c


class _RefusedError(Exception):
    """Takes back what the transaction has written."""

    def __init__(self, accepted: Accepted) -> None:
        super().__init__("refused")
        self.accepted = accepted


class SqlManifests(Known):
    """``ManifestRecords``."""

    async def put_manifest(self, repository: Repository, pushed: Pushed, *, now: datetime) -> Accepted:
        """Check the children, then write manifest, references, links and tags."""
        try:
            kept = await self._database.do(
                lambda connection: _put(connection, repository, pushed, now), durable=True
            )
        except _RefusedError as refused:
            return refused.accepted
        self._keep_links(repository, kept)
        for tag in pushed.tags:
            self._tags.put((repository, tag), _tag_row(pushed, now))
        return Accepted()

    async def remove_manifest(self, repository: Repository, digest: Digest) -> Sequence[str] | None:
        """Remove a manifest with all its tags, and queue it and its children."""
        tags = await self._database.do(
            lambda connection: _remove(connection, repository, digest), durable=True
        )
        self._links.drop((repository, digest))
        for tag in tags or ():
            self._tags.drop((repository, tag))
        return tags

    async def untag(self, repository: Repository, tag: str) -> Digest | None:
        """Remove a tag; gives what it pointed to."""
        pointed = await self._database.do(
            lambda connection: _untag(connection, repository, tag), durable=True
        )
        self._tags.drop((repository, tag))
        return pointed

    async def tags_of(self, repository: Repository, digest: Digest) -> Sequence[str]:
        """Give the tags that point to a manifest."""
        return await self._database.do(lambda connection: _tags_of(connection, repository, digest))

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None, n: int, last: str = ""
    ) -> Sequence[Descriptor]:
        """Give up to ``n`` manifests with this subject, by digest (as text) after ``last``."""
        return await self._database.do(
            lambda connection: _referrers(connection, repository, subject, artifact_type, n, last)
        )

    async def drop_repository(self, repository: Repository) -> int:
        """Remove all of a repository but its uploads, and queue what it reached."""
        count = await self._database.do(lambda connection: _drop(connection, repository), durable=True)
        self._links.clear()
        self._tags.clear()
        return count


def _tag_row(pushed: Pushed, now: datetime) -> TagRow:
    target = pushed.descriptor
    return TagRow(target.digest, target.media_type, target.size, now)


def _tags_of(connection: Connection, repository: Repository, digest: Digest) -> Sequence[str]:
    owner = rows.repository_id(connection, repository)
    pointing = select(_TAG.name).where(_TAG.repository == owner, _TAG.digest == str(digest))
    return list(connection.execute(pointing.order_by(_TAG.name)).scalars())


def _put(
    connection: Connection, repository: Repository, pushed: Pushed, now: datetime
) -> Sequence[Descriptor]:
    owner = rows.made_repository(connection, repository)
    rows.lock_repository(connection, owner)
    own = pushed.descriptor
    kept = rows.own_blob(connection, own.digest, own.size, pushed.place)
    children = {each.digest: each for each in pushed.manifest.children}
    states = rows.lock_blobs(connection, (*children, *pushed.required))
    known = rows.links(connection, owner, {*children, *pushed.required})
    missing = [
        each
        for each in dict.fromkeys(pushed.required)
        if each not in known or states.get(each) == schema.DELETING
    ]
    accepted = Accepted(
        missing=(*(() if kept else (own.digest,)), *missing),
        conflicts=_conflicts(connection, owner, pushed),
    )
    if accepted.missing or accepted.conflicts:
        raise _RefusedError(accepted)
    # A child's type is the manifest's to say; its size is that of the bytes that came.
    typed = [replace(each, size=0) for digest, each in children.items() if digest in known]
    written = rows.write_links(connection, owner, [own, *typed])
    _write_manifest(connection, owner, pushed, list(children))
    for tag in sorted(set(pushed.tags)):
        write_tag(connection, owner, tag, _tag_row(pushed, now))
    touch(connection, owner, repository.registry)
    return written


def _conflicts(connection: Connection, owner: int, pushed: Pushed) -> tuple[str, ...]:
    fixed = sorted(pushed.immutable.intersection(pushed.tags))
    if not fixed:
        return ()
    found = connection.execute(
        select(_TAG.name).where(
            _TAG.repository == owner, _TAG.name.in_(fixed), _TAG.digest != str(pushed.descriptor.digest)
        )
    ).scalars()
    return tuple(sorted(found))


def _write_manifest(connection: Connection, owner: int, pushed: Pushed, children: list[Digest]) -> None:
    parent, manifest = str(pushed.descriptor.digest), pushed.manifest
    known = connection.execute(
        select(_MANIFEST.digest).where(_MANIFEST.repository == owner, _MANIFEST.digest == parent)
    ).first()
    if known is not None:  # the same bytes say the same
        return
    connection.execute(
        insert(schema.manifest).values(
            repository=owner,
            digest=parent,
            subject=None if manifest.subject is None else str(manifest.subject.digest),
            artifact_type=artifact_type_of(manifest),
            annotations=json.dumps(manifest.annotations, ensure_ascii=False),
        )
    )
    if children:
        connection.execute(
            insert(schema.manifest_reference),
            [{"repository": owner, "parent": parent, "child": str(child)} for child in children],
        )


def _remove(connection: Connection, repository: Repository, digest: Digest) -> Sequence[str] | None:
    owner = rows.repository_id(connection, repository)
    if owner is None:
        return None
    rows.lock_repository(connection, owner)
    own = str(digest)
    children = connection.execute(
        select(_REFERENCE.child).where(_REFERENCE.repository == owner, _REFERENCE.parent == own)
    ).scalars()
    states = rows.lock_blobs(connection, (digest, *map(Digest.parse, children)))
    this = (_MANIFEST.repository == owner, _MANIFEST.digest == own)
    if connection.execute(select(_MANIFEST.digest).where(*this)).first() is None:
        return None
    tags = connection.execute(
        delete(schema.tag).where(_TAG.repository == owner, _TAG.digest == own).returning(_TAG.name)
    ).scalars()
    gone = sorted(tags)
    connection.execute(
        delete(schema.manifest_reference).where(_REFERENCE.repository == owner, _REFERENCE.parent == own)
    )
    connection.execute(delete(schema.manifest).where(*this))
    # A deleted manifest is no longer served, at once; unless the same bytes are a layer of something.
    if not connection.execute(select(content_of_image(owner, digest))).scalar():
        connection.execute(delete(schema.link).where(_LINK.repository == owner, _LINK.digest == own))
    rows.queue_kept(connection, states)
    touch(connection, owner, repository.registry)
    return gone


def _untag(connection: Connection, repository: Repository, tag: str) -> Digest | None:
    owner = rows.repository_id(connection, repository)
    if owner is None:
        return None
    rows.lock_repository(connection, owner)
    pointed = delete_tag(connection, repository, tag)
    if pointed is not None:
        touch(connection, owner, repository.registry)
    return pointed


def _referrers(
    connection: Connection,
    repository: Repository,
    subject: Digest,
    artifact_type: str | None,
    n: int,
    last: str,
) -> Sequence[Descriptor]:
    where = [
        _MANIFEST.repository == rows.repository_id(connection, repository),
        _MANIFEST.subject == str(subject),
        _MANIFEST.digest > last,
        _LINK.repository == _MANIFEST.repository,
        _LINK.digest == _MANIFEST.digest,
    ]
    if artifact_type is not None:
        where.append(_MANIFEST.artifact_type == artifact_type)
    found = connection.execute(
        select(_LINK.media_type, _LINK.size, _MANIFEST.digest, _MANIFEST.artifact_type, _MANIFEST.annotations)
        .where(*where)
        .order_by(_MANIFEST.digest)
        .limit(n)
    )
    return [
        Descriptor(
            media_type=row.media_type,
            digest=Digest.parse(row.digest),
            size=row.size,
            annotations=tuple((key, value) for key, value in json.loads(row.annotations)),
            artifact_type=row.artifact_type,
        )
        for row in found
    ]


def _drop(connection: Connection, repository: Repository) -> int:
    owner = rows.repository_id(connection, repository)
    if owner is None:
        return 0
    rows.lock_repository(connection, owner, alone=True)
    reached = connection.execute(select(_LINK.digest).where(_LINK.repository == owner)).scalars()
    digests = [Digest.parse(each) for each in reached]
    if not digests:
        return 0
    states = rows.lock_blobs(connection, digests)
    for table in (schema.tag, schema.manifest_reference, schema.manifest, schema.link, schema.confined):
        connection.execute(delete(table).where(table.c.repository == owner))
    rows.queue_kept(connection, states)
    # The row stays, so that the other front ends learn of it.
    touch(connection, owner, repository.registry)
    return len(digests)
