"""The hash of bytes whose end nobody knows yet, with the midstates that their layout will ask for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from p2p.core.swarm.chunks import SMALL, chunk_size
from p2p.core.swarm.midstates import INITIAL, Midstates

if TYPE_CHECKING:
    from p2p.core.swarm.chunks import Layout
    from p2p.store.verify import LinkHasher

CELL: Final = SMALL
"""Bytes between two states while they arrive: every chunk size is a multiple of it."""


class RunningHash:
    """Takes cells in order and keeps the state behind each that the final layout may still ask for.

    A chunk's size grows with the blob's, so that states which only a smaller blob would need go on the
    way: the grid is never longer than the list of a blob of that length. Without libcrypto there are no
    states, and hashlib does the rest. Blocks; one thread at a time.
    """

    def __init__(self, hasher: LinkHasher, algorithm: str) -> None:
        self.algorithm = algorithm
        self.length = 0
        self._hasher = hasher
        self._plain = None if hasher.available else hashlib.new(algorithm)
        self._state = INITIAL[algorithm]
        self._every = CELL
        self._grid = bytearray()

    def feed(self, cells: memoryview) -> None:
        """Take the next cells, whole ones; ValueError otherwise."""
        if cells.nbytes % CELL:
            raise ValueError(f"{cells.nbytes} bytes are no whole cells of {CELL}")
        if self._plain is not None:
            self._plain.update(cells)
            self.length += cells.nbytes
            return
        for start in range(0, cells.nbytes, CELL):
            cell = cells[start : start + CELL]
            self._state = self._hasher.advance(self.algorithm, self._state, self.length, cell)
            self.length += CELL
            self._note()

    def digest(self, tail: memoryview) -> bytes:
        """Give the hash of all cells and ``tail``; changes nothing."""
        if self._plain is None:
            return self._hasher.finish(self.algorithm, self._state, self.length, tail)
        whole = self._plain.copy()
        whole.update(tail)
        return whole.digest()

    def midstates(self, layout: Layout) -> Midstates:
        """Give the full list of a blob that ends within a cell from here; empty without libcrypto."""
        if self._plain is not None:
            return Midstates(self.algorithm)
        return Midstates(self.algorithm, bytes(self._sampled(layout.chunk))).prefix(layout.count - 1)

    def _note(self) -> None:
        every = chunk_size(self.length)
        if every != self._every:
            self._grid = self._sampled(every)
            self._every = every
        if self.length % every == 0:
            self._grid += self._state

    def _sampled(self, every: int) -> bytearray:
        """Give the states that lie ``every`` bytes apart."""
        width = len(self._state)
        step = every // self._every * width
        sampled = bytearray()
        for end in range(step, len(self._grid) + 1, step):
            sampled += self._grid[end - width : end]
        return sampled
