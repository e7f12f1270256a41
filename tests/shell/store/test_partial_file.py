from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2p.core.swarm.midstates import Midstates
from p2p.store import journal
from p2p.store.chain import Chain, Link
from p2p.store.files import read_file
from p2p.store.memory import MemoryFiles
from p2p.store.partial_file import PartialFile
from p2p.store.paths import JOURNAL, Paths
from tests.support.store_rig import HASHER, MIB, blob

CONTENT = blob(3 * MIB + 5)
CHAIN = Chain(CONTENT.digest, CONTENT.layout, HASHER)
PATHS = Paths(Path("/s"))
NONE = Midstates("sha256")


def journaled(files: MemoryFiles) -> journal.Replay:
    replay = journal.replay(read_file(files, PATHS.partial(CONTENT.digest, JOURNAL), 1 << 20))
    assert replay is not None
    return replay


def links(*indices: int) -> list[Link]:
    found = [CHAIN.link(CONTENT.midstates, index) for index in indices]
    return [link for link in found if link is not None]


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


def test_the_journal_follows_the_data_at_once(files: MemoryFiles) -> None:
    file = PartialFile(files, PATHS, CHAIN, None)
    assert journaled(files).written.bits == 0
    file.take(links(1, 3), [CONTENT.chunk(1), CONTENT.chunk(3)], (), CONTENT.midstates)
    replay = journaled(files)
    assert list(replay.written) == [1, 3]
    assert replay.midstates == CONTENT.midstates
    file.close()
    file.close()


def test_what_is_held_is_neither_written_nor_journaled_again(files: MemoryFiles) -> None:
    file = PartialFile(files, PATHS, CHAIN, None)
    assert file.take(links(1), [CONTENT.chunk(1)], {1}, CONTENT.midstates) == [True]
    assert list(journaled(files).written) == []
    assert os.pread(file.fd, 3 * MIB, 0) == bytes(3 * MIB)
    file.close()


def test_an_older_list_does_not_replace_a_newer_one(files: MemoryFiles) -> None:
    file = PartialFile(files, PATHS, CHAIN, None)
    file.record(CONTENT.midstates)
    file.record(CONTENT.midstates.prefix(1), [0])
    assert journaled(files).midstates == CONTENT.midstates
    file.record(CONTENT.midstates.prefix(1), exact=True)
    assert journaled(files).midstates == CONTENT.midstates.prefix(1)
    other = Midstates("sha256", bytes(64))
    file.record(other)
    assert journaled(files).midstates == other
    file.close()


def test_extending_gives_the_states_and_none_at_a_wrong_end(files: MemoryFiles) -> None:
    file = PartialFile(files, PATHS, CHAIN, None)
    pieces = CHAIN.cut(0, CONTENT.chunks(0, 3))
    assert file.extend(0, pieces, NONE, ()) == CONTENT.midstates.states
    assert file.extend(3, [memoryview(b"wrong")], CONTENT.midstates, ()) is None
    assert list(journaled(files).written) == [0, 1, 2]
    assert file.extend(3, [CONTENT.chunk(3)], CONTENT.midstates, ()) == b""
    assert journaled(files).written.complete
    file.close()


def test_a_resumed_journal_goes_on_behind_its_last_whole_record(files: MemoryFiles) -> None:
    file = PartialFile(files, PATHS, CHAIN, None)
    file.take(links(1), [CONTENT.chunk(1)], (), CONTENT.midstates)
    file.close()
    path = PATHS.partial(CONTENT.digest, JOURNAL)
    length = journaled(files).length
    fd = files.create(path, length + 7)
    os.close(fd)
    file = PartialFile(files, PATHS, CHAIN, journaled(files))
    file.take(links(2), [CONTENT.chunk(2)], (), CONTENT.midstates)
    assert list(journaled(files).written) == [1, 2]
    buffer = memoryview(bytearray(MIB))
    assert [file.holds(link, buffer) for link in links(0, 1, 2, 3)] == [False, True, True, False]
    file.close()


def test_sealing_and_deleting_leave_no_partial_file(files: MemoryFiles) -> None:
    for end in ("seal", "delete"):
        file = PartialFile(files, PATHS, CHAIN, None)
        assert not file.gone
        if end == "seal":
            file.seal(CONTENT.midstates)
        else:
            file.delete()
        assert file.gone
        assert files.entries(PATHS.partials("sha256")) == []
        file.close()
    assert len(files.entries(PATHS.blobs("sha256"))) == 2
    files.close()
