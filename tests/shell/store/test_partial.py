"""Any order of chunks, lists and calls; single cases are in test_conformance.py."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.core.swarm.midstates import Midstates
from p2p.store.memory import MemoryFiles, MemoryStore
from tests.support.store_rig import HASHER, MIB, blob, held

CONTENT = blob(4 * MIB + 3)
COUNT = CONTENT.layout.count
GOOD = CONTENT.midstates
EVIL = GOOD.joined(2, bytes(32) + GOOD.states[96:])

STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, COUNT - 1), st.integers(1, 2), st.booleans()),
    st.tuples(st.just("adopt"), st.integers(0, COUNT - 1)),
    st.tuples(st.just("append"), st.integers(1, 2)),
    st.tuples(st.just("relink"), st.sampled_from([GOOD, GOOD.prefix(1), EVIL, Midstates("sha256")])),
    st.tuples(st.just("crash")),
)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(STEP, max_size=12))
async def test_whatever_happens_only_true_chunks_are_held_and_it_can_be_ended(
    steps: list[tuple[object, ...]],
) -> None:
    files = MemoryFiles()
    store = MemoryStore(files=files, hasher=HASHER)
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    for step in steps:
        held = set(partial.have)
        match step:
            case ["write", int(first), int(count), bool(bad)]:
                count = min(count, COUNT - first)
                reach = partial.midstates.length
                if first + count > (COUNT if reach == COUNT - 1 else reach):
                    continue
                data = bytearray(CONTENT.chunks(first, count))
                if bad:
                    data[0] ^= 1
                answers = await partial.write(first, memoryview(data))
                assert not (bad and answers[0])
                assert set(partial.have) >= held | {first + i for i, held in enumerate(answers) if held}
            case ["adopt", int(length)]:
                if length >= partial.midstates.length and GOOD.agrees(partial.midstates):
                    partial.adopt(GOOD.prefix(length))
            case ["append", int(count)]:
                first = partial.midstates.length
                if GOOD.agrees(partial.midstates):
                    count = min(count, COUNT - first)
                    assert await partial.append(first, CONTENT.chunks(first, count))
                    assert partial.midstates.length == min(first + count, COUNT - 1)
            case ["relink", Midstates() as states]:
                await partial.relink(states)
                assert partial.midstates == states
            case ["crash"]:
                before = partial
                store = MemoryStore(files=files, hasher=HASHER)
                await store.recover()
                partial = await store.open_partial(CONTENT.digest, CONTENT.size)
                assert set(partial.have) >= held
                await before.close()
        for index in partial.have:
            chunk = CONTENT.chunk(index)
            assert os.pread(partial.fd, chunk.nbytes, CONTENT.layout.offset(index)) == chunk
    await partial.relink(GOOD)
    for index in range(COUNT):
        if index not in partial.have:
            assert await partial.write(index, CONTENT.chunk(index)) == [True]
    await partial.commit()
    await partial.close()
    with store.open(CONTENT.digest) as fd:
        assert os.pread(fd, CONTENT.size + 1, 0) == CONTENT.data
    store.close()


async def test_loose_chunks_are_tried_once_under_a_link() -> None:
    store = MemoryStore(hasher=HASHER)
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    partial.adopt(GOOD)
    await partial.write(0, CONTENT.chunks(0, 4))
    await partial.relink(EVIL)
    assert list(partial.have) == [0, 1]
    asked = dict(partial._asked)
    assert sorted(asked) == [2, 3]
    await partial.write(0, CONTENT.chunk(0))
    assert partial._asked == asked
    await partial.relink(GOOD)
    assert list(partial.have) == [0, 1, 2, 3]
    await partial.close()
    store.close()


async def test_the_gate_keeps_commit_and_writes_apart() -> None:
    store = MemoryStore(hasher=HASHER)
    partial = await store.open_partial(CONTENT.digest, CONTENT.size)
    partial.adopt(GOOD)
    await partial.write(0, CONTENT.chunks(0, 4))
    async with trio.open_nursery() as nursery:
        with held(store, "write"):
            nursery.start_soon(partial.write, 4, CONTENT.chunk(4))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(partial.commit)
            await trio.testing.wait_all_tasks_blocked()
            assert store.find(CONTENT.digest) is None
    assert store.find(CONTENT.digest) is not None
    await partial.close()
    store.close()
