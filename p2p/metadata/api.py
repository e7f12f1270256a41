"""Metadata's seam: which tags a repository has, and which digests it is known to reach.

A digest is served under a repository only if that repository reaches it, never because the bytes happen
to be here (CVE-2024-39897); media type and size are therefore kept per (repository, digest), so that one
repository's descriptors can't mislead the readers of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from p2p.core.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from datetime import datetime

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository

GENERIC = "application/octet-stream"
"""Says nothing about the content, so it never replaces a media type that does."""


@dataclass(frozen=True, slots=True)
class TagRow:
    """What a tag pointed to when its source last confirmed it (an aware time)."""

    digest: Digest
    media_type: str
    size: int
    confirmed_at: datetime

    @property
    def target(self) -> Descriptor:
        """The manifest that the tag pointed to."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)


class TagRecords(Protocol):
    """Tags by repository. Every answer that was given once comes from memory the next time."""

    async def tag(self, repository: Repository, tag: str) -> TagRow | None:
        """Look up one tag."""
        ...

    async def put_tag(self, repository: Repository, tag: str, row: TagRow) -> None:
        """Create or move a tag; its digest counts as linked to the repository from then on."""
        ...

    async def remove_tag(self, repository: Repository, tag: str) -> None:
        """Remove a tag if it is there; what it pointed to stays linked."""
        ...

    async def tags(self, repository: Repository, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` tags after ``last``, in ASCII order."""
        ...

    async def repositories(self, registry: str, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` paths of a registry's repositories that have a tag, after ``last``, in order."""
        ...


class LinkRecords(Protocol):
    """Digests by the repository that reaches them."""

    async def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Whether the digest was linked to the repository."""
        ...

    async def describe(self, repository: Repository, digest: Digest) -> Descriptor | None:
        """Give digest, size and media type as linked (nothing else of the descriptor), or None."""
        ...

    async def link(self, repository: Repository, content: Sequence[Descriptor]) -> None:
        """Record that the repository reaches these, all in one transaction; see ``merged`` for repeats."""
        ...


class Metadata(TagRecords, LinkRecords, Protocol):
    """Both. Raises LocalError when the database fails."""


def merged(known: Descriptor | None, new: Descriptor) -> Descriptor:
    """Give what is kept when ``new`` is linked over ``known``: a generic type or a size of 0 loses."""
    if known is None:
        return Descriptor(media_type=new.media_type, digest=new.digest, size=new.size)
    vague = new.media_type in ("", GENERIC)
    return Descriptor(
        media_type=known.media_type if vague else new.media_type,
        digest=new.digest,
        size=new.size or known.size,
    )
