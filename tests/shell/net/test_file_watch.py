from __future__ import annotations

import os
from typing import TYPE_CHECKING

from p2p.net.file_watch import FileWatch

if TYPE_CHECKING:
    from pathlib import Path


def test_changes_are_told_once(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("1")
    watch = FileWatch(one, other)
    assert watch.changed()
    assert not watch.changed()
    other.write_text("22")
    assert watch.changed()
    assert not watch.changed()


def test_a_change_of_the_same_size_and_a_replacement_of_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    watch = FileWatch(path)
    watch.changed()
    os.utime(path, ns=(1, 1))
    assert watch.changed()
    fresh = tmp_path / "fresh"
    fresh.write_text("2")
    os.utime(fresh, ns=(1, 1))
    fresh.replace(path)
    assert watch.changed(), "an editor's rename"


def test_a_symbolic_link_to_another_file(tmp_path: Path) -> None:
    """How Kubernetes replaces a mounted secret."""
    for name in ("a", "b"):
        (tmp_path / name).write_text("same")
        os.utime(tmp_path / name, ns=(1, 1))
    link = tmp_path / "link"
    link.symlink_to("a")
    watch = FileWatch(link)
    watch.changed()
    fresh = tmp_path / "fresh"
    fresh.symlink_to("b")
    fresh.replace(link)
    assert watch.changed()


def test_a_file_that_goes_and_comes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    watch = FileWatch(path)
    assert watch.changed()
    assert not watch.changed()
    path.write_text("1")
    assert watch.changed()
    path.unlink()
    assert watch.changed()
    assert not watch.changed()
