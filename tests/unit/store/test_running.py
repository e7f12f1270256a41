from __future__ import annotations

import hashlib

import pytest

from p2p.core.swarm.chunks import GIB, MIB, Layout
from p2p.core.swarm.midstates import INITIAL
from p2p.store.running import CELL, RunningHash
from tests.support.store_rig import HASHER, UNLINKED, blob


class Counting:
    """A hasher that only counts, so that sizes of many gigabytes cost nothing."""

    available = True

    def advance(self, algorithm: str, state: bytes, before: int, data: object) -> bytes:
        return (before + CELL).to_bytes(len(state), "big")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 77])
def test_digest_and_list_as_from_a_whole_blob(algorithm: str, size: int) -> None:
    content = blob(size, algorithm=algorithm)
    data = memoryview(content.data)
    cut = size - size % CELL
    running = RunningHash(HASHER, algorithm)
    running.feed(data[:cut])
    assert running.length == cut
    for _ in range(2):
        assert running.digest(data[cut:]) == content.digest.raw
    assert running.midstates(content.layout) == content.midstates


def test_a_last_cell_may_come_as_the_tail() -> None:
    content = blob(3 * MIB)
    running = RunningHash(HASHER, "sha256")
    running.feed(content.chunks(0, 2))
    assert running.digest(content.chunk(2)) == content.digest.raw
    assert running.midstates(content.layout) == content.midstates


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_without_libcrypto(algorithm: str) -> None:
    content = blob(2 * MIB + 5, algorithm=algorithm)
    running = RunningHash(UNLINKED, algorithm)
    running.feed(content.chunks(0, 2))
    assert running.digest(memoryview(b"")) == hashlib.new(algorithm, content.chunks(0, 2)).digest()
    assert running.digest(content.chunk(2)) == content.digest.raw
    assert running.midstates(content.layout).length == 0


@pytest.mark.parametrize(
    "size",
    [255 * MIB, 256 * MIB - 1, 256 * MIB, 256 * MIB + 1, 259 * MIB, 16 * GIB - 1, 16 * GIB, 17 * GIB + 5],
)
def test_the_list_follows_the_final_layout(size: int) -> None:
    running = RunningHash(Counting(), "sha256")  # type: ignore[arg-type]  # the one verb that is needed
    batch = memoryview(bytes(16 * MIB))
    while size - running.length >= CELL:
        running.feed(batch[: min(len(batch), (size - running.length) // CELL * CELL)])
    layout = Layout(size)
    states = running.midstates(layout)
    assert states.full(layout.count)
    assert all(states.state(i) == layout.offset(i).to_bytes(32, "big") for i in range(1, layout.count))
    # What is kept on the way is no longer than the list itself (and the state at the very end).
    assert len(running._grid) <= layout.count * 32


def test_only_whole_cells() -> None:
    running = RunningHash(HASHER, "sha256")
    with pytest.raises(ValueError, match="no whole cells"):
        running.feed(memoryview(bytes(CELL + 1)))
    assert running.digest(memoryview(b"")) == hashlib.sha256(b"").digest()
    assert running.midstates(Layout(0)).state(0) == INITIAL["sha256"]
