"""What is private, in memory: for tests, and for nodes that keep nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from p2p.metadata.memory import MemoryMetadata
from p2p.metadata.private import OWN_SUFFIX, VisibilityRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryPrivacy(MemoryMetadata):
    """``Metadata`` and ``PrivateRecords`` in dictionaries, forgotten with the process."""

    def __init__(self) -> None:
        super().__init__()
        self._judged: dict[Repository, VisibilityRow] = {}
        self._confined: dict[Digest, dict[Repository, bool]] = {}

    async def visibility(self, repository: Repository) -> VisibilityRow | None:
        """Look up what was found out; None where it never was."""
        return self._judged.get(repository)

    async def put_visibility(self, repository: Repository, row: VisibilityRow) -> None:
        """Keep what was found out."""
        self._judged[repository] = row

    async def unjudged(self) -> Sequence[str]:
        """Give the registries with repositories that were never judged, this node's own aside."""
        return list(dict.fromkeys(each.registry for each in self._never_judged()))

    async def distrust(self, registry: str) -> None:
        """Take a registry's repositories that were never judged for private, and confine what they reach."""
        for repository in [each for each in self._never_judged() if each.registry == registry]:
            await self.confine_all(repository)
            self._judged[repository] = VisibilityRow(private=True, judged_at=_LONG_AGO)

    async def confined(self) -> Sequence[tuple[Digest, Repository, bool]]:
        """Give all, each by repository, and whether that was proven to reach it; not what is hosted too."""
        return [
            (digest, repository, proven)
            for digest, known in self._confined.items()
            for repository, proven in known.items()
            if not self._is_hosted(digest)
        ]

    async def confine(self, repository: Repository, digest: Digest, *, proven: bool) -> None:
        """Confine a digest that comes from a repository; proven once is proven for good."""
        known = self._confined.setdefault(digest, {})
        known[repository] = proven or known.get(repository, False)

    async def confine_all(self, repository: Repository) -> Sequence[Digest]:
        """Confine what is linked to a repository, none of it proven; gives the digests."""
        for digest in self._links.get(repository, ()):
            await self.confine(repository, digest, proven=False)
        return [digest for digest, known in self._confined.items() if repository in known]

    async def release(self, digest: Digest) -> None:
        """End it: something public reaches the digest."""
        self._confined.pop(digest, None)

    async def release_all(self, repository: Repository) -> Sequence[Digest]:
        """A repository is public now; gives the digests that are no longer confined."""
        released = []
        for digest, known in list(self._confined.items()):
            if repository in known and (known.pop(repository) or not known):
                del self._confined[digest]
                released.append(digest)
        return released

    def _never_judged(self) -> list[Repository]:
        return [
            each
            for each in self._links
            if each not in self._judged and not each.registry.endswith(OWN_SUFFIX)
        ]

    def _is_hosted(self, digest: Digest) -> bool:
        return any(
            digest in links for each, links in self._links.items() if each.registry.endswith(OWN_SUFFIX)
        )
