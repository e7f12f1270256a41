from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import StoreSettings
from p2p.errors import LocalError
from p2p.store.disk import DiskStore
from tests.support.store_rig import HASHER, MIB, blob, put

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.digest import Digest

SETTINGS = StoreSettings(minimum_free=0)

WRITER = """
import sys, trio
from pathlib import Path
from p2p.config import StoreSettings
from p2p.store.disk import DiskStore
from tests.support.store_rig import blob, MIB

async def main():
    content = blob(64 * MIB)
    store = await DiskStore.load(Path(sys.argv[1]), StoreSettings(minimum_free=0))
    partial = await store.open_partial(content.digest, content.size)
    partial.adopt(content.midstates)
    for index in range(64):
        assert await partial.write(index, content.chunk(index)) == [True]
        print(index, flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


async def test_one_node_at_a_time(tmp_path: Path) -> None:
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER):
        with pytest.raises(LocalError, match="another node uses this directory") as caught:
            await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER)
        assert str(tmp_path) in str(caught.value)
    (await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER)).close()


async def test_a_directory_that_cannot_be_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(LocalError, match="can't be used as the store's directory"):
        await DiskStore.load(file, SETTINGS, hasher=HASHER)


async def test_closing_twice_is_fine(tmp_path: Path) -> None:
    store = await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER)
    store.close()
    store.close()


async def test_strays_go_at_start_and_foreign_files_stay(tmp_path: Path) -> None:
    content = blob(MIB + 1)
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER) as store:
        await put(store, content)
    partial = tmp_path / "partial/sha256" / content.digest.hex
    partial.touch()
    (tmp_path / "partial/sha256" / (content.digest.hex + ".journal")).touch()
    stray = tmp_path / "blobs/sha256" / ("0" * 64 + ".midstates")
    stray.touch()
    foreign = tmp_path / "blobs/sha256/NOTES"
    foreign.touch()
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER) as store:
        assert [b.digest for b in store.blobs()] == [content.digest]
        assert store.partials() == []
    assert not partial.exists()
    assert not stray.exists()
    assert foreign.exists()


async def test_a_blob_that_somebody_deleted_is_not_there(tmp_path: Path) -> None:
    withdrawn: list[Digest] = []
    content = blob(100)
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER, withdraw=withdrawn.append) as store:
        await put(store, content)
        (tmp_path / "blobs/sha256" / content.digest.hex).unlink()
        with pytest.raises(KeyError):
            store.open(content.digest)
        assert store.find(content.digest) is None
        assert withdrawn == [content.digest]


async def test_a_blob_that_somebody_cut_is_never_served(tmp_path: Path) -> None:
    content = blob(100)
    with await DiskStore.load(tmp_path, SETTINGS, hasher=HASHER) as store:
        await put(store, content)
        os.truncate(tmp_path / "blobs/sha256" / content.digest.hex, 50)
        with pytest.raises(KeyError):
            store.open(content.digest)
        assert store.statistics().quarantined == 1
        await put(store, content)
        with store.open(content.digest) as fd:
            assert os.pread(fd, 101, 0) == content.data


@pytest.mark.slow
async def test_sigkill_keeps_the_verified_chunks(tmp_path: Path) -> None:
    content = blob(64 * MIB)
    rng = random.Random(2)
    for turn in range(2):
        root = tmp_path / str(turn)
        writer = await trio.lowlevel.open_process(
            [sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE
        )
        enough = rng.randrange(8, 60)
        said = b""
        assert writer.stdout is not None
        while said.count(b"\n") < enough:
            said += await writer.stdout.receive_some()
        writer.send_signal(signal.SIGKILL)
        async for more in writer.stdout:
            said += more
        await writer.wait()
        verified = said.count(b"\n")
        with await DiskStore.load(root, SETTINGS, hasher=HASHER) as store:
            partial = await store.open_partial(content.digest, content.size)
            assert len(partial.have) >= verified
            for index in partial.have:
                piece = os.pread(partial.fd, content.layout.length(index), content.layout.offset(index))
                assert piece == content.chunk(index)
            await partial.close()
