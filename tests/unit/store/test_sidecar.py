from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.chunks import MIB, Layout
from p2p.core.swarm.midstates import Midstates
from p2p.store import sidecar
from p2p.store.files import read_file
from p2p.store.memory import MemoryFiles

LAYOUT = Layout(4 * MIB)
LIST = Midstates("sha256", bytes(range(96)))
NONE = Midstates("sha256")


def test_it_round_trips() -> None:
    assert sidecar.decode("sha256", LAYOUT, sidecar.encode(LIST)) == LIST


@given(st.data())
def test_damage_is_noticed(data: st.DataObject) -> None:
    good = sidecar.encode(LIST)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    assert sidecar.decode("sha256", LAYOUT, bytes(bad)) == NONE
    assert sidecar.decode("sha256", LAYOUT, good[:at]) == NONE


@pytest.mark.parametrize("layout", [Layout(3 * MIB), Layout(5 * MIB)])
def test_another_blob_s_list_is_not_taken(layout: Layout) -> None:
    assert sidecar.decode("sha256", layout, sidecar.encode(LIST)) == NONE


def test_writing() -> None:
    files = MemoryFiles()
    path = Path("/a")
    os.close(files.create(path, 1000))
    sidecar.write(files, path, LIST)
    assert read_file(files, path, 1 << 20) == sidecar.encode(LIST)
    files.close()


def test_reading() -> None:
    files = MemoryFiles()
    path = Path("/a")
    assert sidecar.read(files, path, "sha256", LAYOUT) == NONE
    sidecar.write(files, path, LIST)
    assert sidecar.read(files, path, "sha256", LAYOUT) == LIST
    os.close(files.create(path, 5))
    assert sidecar.read(files, path, "sha256", LAYOUT) == NONE
    files.close()
