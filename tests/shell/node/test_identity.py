"""A node's id outlives restarts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from p2p.errors import LocalError
from p2p.node.identity import FILE, LENGTH, node_id

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    first = node_id(state)
    assert len(bytes.fromhex(first)) * 2 == LENGTH
    assert node_id(state) == first
    assert os.listdir(state) == [FILE]  # noqa: PTH208  # names alone are meant


def test_two_nodes_differ(tmp_path: Path) -> None:
    assert node_id(tmp_path / "a") != node_id(tmp_path / "b")


def test_the_state_directory_is_not_for_everybody(tmp_path: Path) -> None:
    """Whoever may enter it may ask the admin socket."""
    node_id(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o007 == 0


@pytest.mark.parametrize(
    "text", ["", "short", "Z" * LENGTH, "A" * LENGTH, "0" * (LENGTH + 1), "0" * 31 + "é"]
)
def test_a_file_that_holds_none_is_named_with_the_mend(tmp_path: Path, text: str) -> None:
    """Never replaced in silence: another id would make all that peers know of this node void."""
    (tmp_path / FILE).write_text(text, "utf-8")
    with pytest.raises(LocalError) as caught:
        node_id(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / FILE).read_text("utf-8") == text


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="can't be used") as caught:
        node_id(tmp_path / "file")
    assert "--state" in caught.value.mend


def test_a_write_that_was_cut_leaves_no_half_id(tmp_path: Path) -> None:
    """The rename is the write: what a crash left beside it is no id."""
    (tmp_path / "node-id.new").write_text("012")
    known = node_id(tmp_path)
    assert len(known) == LENGTH
    assert node_id(tmp_path) == known
