"""What came from private repositories alone: it is kept from peers, and from other repositories.

A digest is confined when its bytes come in on behalf of a private repository and are not here yet. It stays
so until something public is *proven* to reach it: that a manifest names it proves nothing, since whoever can
push anywhere can name any digest (CVE-2024-39897, CVE-2021-41190). While it is confined each repository has
to be proven to reach it before it is given under that repository's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.private import ConfinedRecords


class Unconfined:
    """``Confinement`` where nothing is private."""

    def __contains__(self, digest: object) -> bool:
        return False

    async def begin(self, repository: Repository, digest: Digest) -> None:
        """Nothing to note."""

    async def proved(self, repository: Repository, digest: Digest) -> None:
        """Nothing to note."""

    def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Say that what is linked may be given."""
        del repository, digest
        return True


class Confined:
    """``Confinement``, all of it in memory, and in ``records`` for the next start.

    ``private``: whether a repository is, as far as is known now; ``held``: whether a blob is complete here;
    ``changed`` is called for each digest that was confined though its bytes may be here, and for each that no
    longer is.
    """

    def __init__(
        self,
        records: ConfinedRecords,
        *,
        private: Callable[[Repository], bool],
        held: Callable[[Digest], bool],
        changed: Callable[[Digest], None],
    ) -> None:
        self._records = records
        self._private = private
        self._held = held
        self._changed = changed
        self._reached: dict[Digest, tuple[Repository, ...]] = {}
        """By confined digest, the private repositories that were proven to reach it."""
        self._unwritten: set[Digest] = set()

    async def load(self) -> None:
        """Read what earlier runs left; before anything is announced."""
        for digest, repository, proven in await self._records.confined():
            before = self._reached.get(digest, ())
            self._reached[digest] = (*before, repository) if proven else before

    def __contains__(self, digest: object) -> bool:
        return digest in self._reached

    def __len__(self) -> int:
        return len(self._reached)

    def reaches(self, repository: Repository, digest: Digest) -> bool:
        """Whether a link of a repository may be believed: for a confined digest only one that was proven."""
        reached = self._reached.get(digest)
        return reached is None or repository in reached

    async def begin(self, repository: Repository, digest: Digest) -> None:
        """Confine what comes in for a private repository, unless it is here already and public."""
        if digest in self._reached:
            if digest not in self._unwritten:
                return
        elif not self._private(repository) or self._held(digest):
            return
        # Forgotten by a crash it would be announced: so it is written before the first byte comes. Where that
        # fails it stays confined in memory, and the next to begin writes it.
        self._reached.setdefault(digest, ())
        self._unwritten.add(digest)
        await self._records.confine(repository, digest, proven=False)
        self._unwritten.discard(digest)

    async def proved(self, repository: Repository, digest: Digest) -> None:
        """Note that an upstream gave a confined digest for a repository: a public one ends it."""
        reached = self._reached.get(digest)
        if reached is None or repository in reached:
            return
        if not self._private(repository):
            await self.release(digest)
            return
        self._reached[digest] = (*reached, repository)
        await self._records.confine(repository, digest, proven=True)

    async def release(self, digest: Digest) -> None:
        """End it: it is public, or was pushed to this node by somebody who had its bytes."""
        if self._reached.pop(digest, None) is not None:
            self._changed(digest)
            await self._records.release(digest)

    def hosted(self, *digests: Digest) -> None:
        """Forget what is hosted here, which the records know by themselves."""
        for digest in digests:
            if self._reached.pop(digest, None) is not None:
                self._changed(digest)

    def repositories(self, digest: Digest) -> tuple[Repository, ...]:
        """Give the private repositories that were proven to reach a confined digest."""
        return self._reached.get(digest, ())

    async def turned(self, repository: Repository, *, private: bool) -> None:
        """A repository was found to be private, or public, that was not known to be so."""
        if not private:
            for digest in await self._records.release_all(repository):
                if self._reached.pop(digest, None) is not None:
                    self._changed(digest)
            return
        # What it reached while it was public may be public by another one: that is proven when asked for.
        for digest in await self._records.confine_all(repository):
            if digest not in self._reached:
                self._reached[digest] = ()
                self._changed(digest)
