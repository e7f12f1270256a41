"""The links of one blob: which states a chunk lies between, and whether its bytes hold there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from p2p.core.swarm.midstates import INITIAL

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.chunks import Layout
    from p2p.core.swarm.midstates import Midstates
    from p2p.store.verify import LinkHasher


@dataclass(frozen=True, slots=True)
class Link:
    """Chunk ``index`` must lead from state ``start`` to ``end``: the next state, or the digest.

    Both are empty where chunks can't be hashed alone: nothing is known then before the whole is.
    """

    index: int
    start: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """A blob's layout, its digest, and the hasher to tie them."""

    digest: Digest
    layout: Layout
    hasher: LinkHasher

    @property
    def linked(self) -> bool:
        """Whether single chunks can be verified: by libcrypto, or since there is but one."""
        return self.hasher.available or self.layout.count == 1

    def link(self, midstates: Midstates, index: int) -> Link | None:
        """Give the link of a chunk, None where ``midstates`` does not reach it."""
        if not self.linked:
            return Link(index, b"", b"")
        if index > midstates.length or (index < self.layout.last and index == midstates.length):
            return None
        end = self.digest.raw if index == self.layout.last else midstates.state(index + 1)
        return Link(index, midstates.state(index), end)

    def holds(self, link: Link, data: memoryview) -> bool:
        """Hash a chunk under its link; blocks, for a thread."""
        if not self.linked:
            return True
        final = link.index == self.layout.last
        if not self.hasher.available:
            return hashlib.new(self.digest.algorithm, data).digest() == link.end
        before = self.layout.offset(link.index)
        return self.hasher.check(self.digest.algorithm, link.start, before, data, link.end, final)

    def advance(self, state: bytes, index: int, data: memoryview) -> bytes:
        """Hash a chunk that isn't the last one; gives the next state. Blocks."""
        return self.hasher.advance(self.digest.algorithm, state, self.layout.offset(index), data)

    def cut(self, first: int, data: memoryview) -> list[memoryview]:
        """Cut consecutive whole chunks apart; ValueError where they are none."""
        data = data.cast("B")
        count = max(1, -(-data.nbytes // self.layout.chunk))
        if not 0 <= first <= first + count <= self.layout.count:
            raise ValueError(f"chunks {first} to {first + count - 1} of {self.layout.count}")
        if data.nbytes != self.layout.length(first, count):
            raise ValueError(f"{data.nbytes} bytes are no whole chunks from {first} on")
        base = self.layout.offset(first)
        cuts = [self.layout.offset(first + i) - base for i in range(count + 1)]
        return [data[start:stop] for start, stop in pairwise(cuts)]


class Rehash:
    """One pass over all bytes of a blob, chunk by chunk in order; finds the list on the way. Blocks."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._next = 0
        self._state = INITIAL[chain.digest.algorithm]
        self._states: list[bytes] = []
        self._plain = None if chain.hasher.available else hashlib.new(chain.digest.algorithm)
        self._holds = False

    @property
    def next(self) -> int:
        """The chunk that comes next; the number of chunks when all came."""
        return self._next

    @property
    def holds(self) -> bool:
        """Whether all came and the digest is right."""
        return self._holds

    @property
    def states(self) -> bytes:
        """The states found, end to end; empty without libcrypto."""
        return b"".join(self._states)

    def feed(self, data: memoryview) -> None:
        """Take the next chunk."""
        chain, index = self._chain, self._next
        self._next += 1
        last = index == chain.layout.last
        if self._plain is not None:
            self._plain.update(data)
            self._holds = last and self._plain.digest() == chain.digest.raw
        elif last:
            before = chain.layout.offset(index)
            digest = chain.hasher.finish(chain.digest.algorithm, self._state, before, data)
            self._holds = digest == chain.digest.raw
        else:
            self._state = chain.advance(self._state, index, data)
            self._states.append(self._state)
