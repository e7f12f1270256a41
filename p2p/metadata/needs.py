"""What keeps a link: the one place that says it, for reviews and for removals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select

from p2p.core.oci.manifest import INDEX_TYPES
from p2p.metadata import schema

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from p2p.core.oci.digest import Digest

_LINK = schema.link.c


def needed() -> ColumnElement[bool]:
    """Whether a row of ``link`` is a manifest of its repository, is tagged, or is referred to by one."""
    manifest, tag, reference = schema.manifest.c, schema.tag.c, schema.manifest_reference.c
    return or_(
        select(manifest.digest)
        .where(manifest.repository == _LINK.repository, manifest.digest == _LINK.digest)
        .exists(),
        select(reference.child)
        .where(reference.child == _LINK.digest, reference.repository == _LINK.repository)
        .exists(),
        select(tag.digest).where(tag.repository == _LINK.repository, tag.digest == _LINK.digest).exists(),
    )


def leased(now: int) -> ColumnElement[bool]:
    """Whether a lease on the link is live."""
    return and_(_LINK.leased_until.is_not(None), _LINK.leased_until > now)


def content_of_image(repository: int, digest: Digest) -> ColumnElement[bool]:
    """Whether an image of the repository has it as config or layer; an index may be sparse, it may not."""
    reference = schema.manifest_reference.c
    return (
        select(reference.child)
        .where(
            reference.child == str(digest),
            reference.repository == repository,
            _LINK.repository == repository,
            _LINK.digest == reference.parent,
            _LINK.media_type.not_in(INDEX_TYPES),
        )
        .exists()
    )
