"""What this node holds of each blob, complete or growing, for those who subscribe to it and the seeder."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.core.oci.digest import Digest
from p2p.core.swarm.bitfield import Bitfield

if TYPE_CHECKING:
    from p2p.core.swarm.midstates import Midstates
    from p2p.store.api import Partial, Store


Watcher = Callable[[str], None]
"""Called with a digest when what is held of it changed; from the trio loop, must not block."""


@dataclass(frozen=True, slots=True)
class Held:
    """A moment's view of one blob: ``midstates`` None where the list must still be loaded."""

    size: int
    complete: bool
    have: Bitfield
    midstates: Midstates | None


class Holdings:
    """Looks in the growing blobs first, then in the store. What is ``confined`` is not there for peers."""

    def __init__(self, store: Store, confined: Container[Digest] = ()) -> None:
        self.store = store
        self._confined = confined
        self.withheld = 0
        """How often peers asked for what they do not get."""
        self._growing: dict[str, Partial] = {}
        self._watchers: dict[str, list[Watcher]] = {}

    def begin(self, partial: Partial) -> None:
        """Offer a partial blob's chunks from now on."""
        self._growing[str(partial.digest)] = partial
        self.changed(partial.digest)

    def changed(self, digest: Digest) -> None:
        """More chunks or states, or complete, or gone."""
        key = str(digest)
        for watcher in tuple(self._watchers.get(key, ())):
            watcher(key)

    def end(self, digest: Digest) -> None:
        """Offer the partial no longer (it is complete in the store, or given up)."""
        self._growing.pop(str(digest), None)
        self.changed(digest)

    def withholds(self, digest: Digest) -> bool:
        """Whether there is something of a blob that peers do not get."""
        return digest in self._confined and (
            str(digest) in self._growing or self.store.find(digest) is not None
        )

    def shareable(self, digest: str) -> bool:
        """Whether peers may hear anything of a digest at all."""
        return Digest.parse(digest) not in self._confined

    def asked(self, digest: Digest) -> None:
        """Count a peer that is told of nothing, if there is something."""
        self.withheld += self.withholds(digest)

    def growing(self, digest: Digest) -> Partial | None:
        """Give the partial blob, if one grows."""
        return None if digest in self._confined else self._growing.get(str(digest))

    def held(self, digest: Digest) -> Held | None:
        """What there is of a blob."""
        if digest in self._confined:
            return None
        partial = self._growing.get(str(digest))
        if partial is not None:
            return Held(partial.layout.size, False, partial.have, partial.midstates)
        stored = self.store.find(digest)
        if stored is None:
            return None
        return Held(stored.size, True, Bitfield(0), None)

    def watch(self, digest: str, watcher: Watcher) -> None:
        """Call ``watcher`` on every change of a digest, held or not."""
        self._watchers.setdefault(digest, []).append(watcher)

    def unwatch(self, digest: str, watcher: Watcher) -> None:
        """End it."""
        watchers = self._watchers.get(digest, [])
        if watcher in watchers:
            watchers.remove(watcher)
        if not watchers:
            self._watchers.pop(digest, None)
