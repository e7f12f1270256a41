"""Where the bytes of one blob came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2p.transfer.api import Sources


class Tally:
    """Verified bytes of one download: in the ``cache`` from earlier, from the ``origin``, from ``peers``."""

    def __init__(self) -> None:
        self.cache = 0
        self.origin = 0
        self.peers: dict[str, int] = {}
        self._followers: list[Sources] = []

    def follow(self, sources: Sources) -> None:
        """Count into ``sources`` too, from now on, and what was counted before."""
        sources.cache += self.cache
        sources.origin += self.origin
        sources.peers += sum(self.peers.values())
        self._followers.append(sources)

    def kept(self, size: int) -> None:
        """``size`` bytes were there already."""
        self.cache += size
        for sources in self._followers:
            sources.cache += size

    def got(self, peer: str | None, size: int) -> None:
        """``size`` bytes came from a peer, or from the origin (None)."""
        if peer is None:
            self.origin += size
        else:
            self.peers[peer] = self.peers.get(peer, 0) + size
        for sources in self._followers:
            if peer is None:
                sources.origin += size
            else:
                sources.peers += size
