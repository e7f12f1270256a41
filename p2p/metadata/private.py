"""Metadata's seam for private content: which repositories are private, and which digests came from there.

That a manifest names a digest proves nothing about who may have it: whoever can push to any repository can
name any digest. So what came from private repositories alone is *confined*: kept apart, with the repositories
that were proven to reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository

OWN_SUFFIX = ".invalid"
"""Registries of a node's own repositories end so (RFC 2606, 2); no upstream's name does."""


@dataclass(frozen=True, slots=True)
class VisibilityRow:
    """Whether a repository was private when that was last found out (an aware time)."""

    private: bool
    judged_at: datetime


class VisibilityRecords(Protocol):
    """What is known of repositories."""

    async def visibility(self, repository: Repository) -> VisibilityRow | None:
        """Look up what was found out; None where it never was."""
        ...

    async def put_visibility(self, repository: Repository, row: VisibilityRow) -> None:
        """Keep what was found out."""
        ...

    async def unjudged(self) -> Sequence[str]:
        """Give the registries with repositories that were never judged, this node's own aside."""
        ...

    async def distrust(self, registry: str) -> None:
        """Take a registry's repositories that were never judged for private, and confine what they reach.

        The judgement is dated so long ago that it is made anew when one of them is asked for.
        """
        ...


class ConfinedRecords(Protocol):
    """Digests that only private repositories reach, as far as was proven."""

    async def confined(self) -> Sequence[tuple[Digest, Repository, bool]]:
        """Give all, each by repository, and whether that was proven to reach it; not what is hosted too."""
        ...

    async def confine(self, repository: Repository, digest: Digest, *, proven: bool) -> None:
        """Confine a digest that comes from a repository; proven once is proven for good."""
        ...

    async def confine_all(self, repository: Repository) -> Sequence[Digest]:
        """Confine what is linked to a repository, none of it proven; gives the digests."""
        ...

    async def release(self, digest: Digest) -> None:
        """End it: something public reaches the digest."""
        ...

    async def release_all(self, repository: Repository) -> Sequence[Digest]:
        """A repository is public now; gives the digests that are no longer confined.

        These are what it was proven to reach, and what was confined on its account alone.
        """
        ...


class PrivateRecords(VisibilityRecords, ConfinedRecords, Protocol):
    """Both. Raises LocalError when the database fails."""
