"""The blob that is distributed: tiny chunks that stand for large ones, under real midstate lists.

``F(state, chunk)`` is SHA-256 of both, so links bind as they do in earnest. A forger's chunks are others,
with a list that fits them except for the last link.
"""

from __future__ import annotations

import hashlib

from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.midstates import INITIAL, Midstates

NOTHING = Midstates("sha256")


def link(state: bytes, chunk: bytes) -> bytes:
    """Give the state after a chunk."""
    return hashlib.sha256(state + chunk).digest()


class Content:
    """A blob of ``size`` bytes as Remora would cut it. ``name`` makes it different from others."""

    def __init__(self, size: int, name: str = "blob") -> None:
        self.layout = Layout(size)
        self.count = self.layout.count
        self.whole = (1 << self.count) - 1
        self.size = size
        self.chunks = [f"{name} {index}".encode() for index in range(self.count)]
        self.full = listed(self.chunks)
        self.prefixes = [self.full.prefix(length) for length in range(self.count)]
        self.after = [*(self.full.state(index) for index in range(1, self.count)), b""]
        self.after[-1] = link(self.full.state(self.count - 1), self.chunks[-1])
        self.digest = Digest("sha256", self.after[-1].hex())
        self.name = str(self.digest)
        """The digest in words."""

    def shared(self, midstates: Midstates) -> Midstates:
        """Give the one object that stands for all equal lists, where it is a part of the true one."""
        if self.full.states.startswith(midstates.states):
            return self.prefixes[midstates.length]
        return midstates

    def holds(self, midstates: Midstates, index: int, chunk: bytes) -> bool:
        """Whether a chunk holds under a list that knows its link."""
        if chunk is self.chunks[index] and midstates is self.prefixes[midstates.length]:
            return True  # by construction
        after = self.after[-1] if index == self.count - 1 else midstates.state(index + 1)
        return link(midstates.state(index), chunk) == after

    def forged(self, tag: str) -> tuple[list[bytes], Midstates]:
        """Give false chunks and a list under which all but the last hold."""
        chunks = [f"{tag} {index}".encode() for index in range(self.count)]
        return chunks, listed(chunks)


def listed(chunks: list[bytes]) -> Midstates:
    """Give the list of some chunks."""
    states, state = [], INITIAL["sha256"]
    for chunk in chunks[:-1]:
        state = link(state, chunk)
        states.append(state)
    return Midstates("sha256", b"".join(states))
