"""Metadata in memory: for tests, and for nodes that keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.oci.descriptor import Descriptor
from p2p.metadata.api import TagRow, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository


class MemoryMetadata:
    """``Metadata`` in dictionaries, forgotten with the process."""

    def __init__(self) -> None:
        self._tags: dict[Repository, dict[str, TagRow]] = {}
        self._links: dict[Repository, dict[Digest, Descriptor]] = {}

    async def tag(self, repository: Repository, tag: str) -> TagRow | None:
        """Look up one tag."""
        return self._tags.get(repository, {}).get(tag)

    async def put_tag(self, repository: Repository, tag: str, row: TagRow) -> None:
        """Create or move a tag and link its digest."""
        await self.link(
            repository, (Descriptor(media_type=row.media_type, digest=row.digest, size=row.size),)
        )
        self._tags.setdefault(repository, {})[tag] = row

    async def remove_tag(self, repository: Repository, tag: str) -> None:
        """Remove a tag if it is there."""
        tags = self._tags.get(repository, {})
        tags.pop(tag, None)
        if not tags:
            self._tags.pop(repository, None)

    async def tags(self, repository: Repository, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` tags after ``last``, in ASCII order."""
        return sorted(name for name in self._tags.get(repository, {}) if name > last)[:n]

    async def repositories(self, registry: str, n: int, last: str = "") -> list[str]:
        """Give up to ``n`` paths of a registry's repositories that have a tag, after ``last``, in order."""
        paths = (each.path for each in self._tags if each.registry == registry)
        return sorted(path for path in paths if path > last)[:n]

    async def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Whether the digest was linked to the repository."""
        return digest in self._links.get(repository, {})

    async def describe(self, repository: Repository, digest: Digest) -> Descriptor | None:
        """Give digest, size and media type as linked, or None."""
        return self._links.get(repository, {}).get(digest)

    async def link(self, repository: Repository, content: Sequence[Descriptor]) -> None:
        """Record that the repository reaches these."""
        links = self._links.setdefault(repository, {})
        for each in content:
            links[each.digest] = merged(links.get(each.digest), each)
