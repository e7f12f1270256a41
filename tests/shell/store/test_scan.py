from __future__ import annotations

import os
from typing import TYPE_CHECKING

from p2p.core.oci.digest import Digest
from p2p.store import journal
from p2p.store.files import OsFiles
from p2p.store.paths import JOURNAL, MIDSTATES, PIN, Paths
from p2p.store.scan import scan

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (Digest.of(text, "sha512") for text in (b"1", b"2", b"3"))


def put(path: Path, data: bytes = b"", used: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (used, used))
    return path


def test_an_empty_directory_is_furnished(tmp_path: Path) -> None:
    found = scan(OsFiles(tmp_path), Paths(tmp_path))
    assert (found.blobs, found.partials, found.pins, found.strays) == ([], [], [], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "blobs",
        "partial",
        "quarantine",
        "uploads",
    ]


def test_blobs_in_the_order_of_use_and_their_files(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    put(paths.blob(ONE), b"11", used=5)
    put(paths.blob(TWO), b"2", used=3)
    put(paths.blob(ONE, MIDSTATES))
    put(paths.blob(THREE, PIN))
    stray = put(paths.blob(THREE, MIDSTATES))
    bad = put(paths.quarantine(THREE), b"333")
    found = scan(OsFiles(tmp_path), paths)
    assert found.blobs == [(TWO, 1), (ONE, 2)]
    assert found.pins == [THREE]
    assert found.strays == [stray]
    assert found.quarantined == {bad: 3}


def test_partials_need_both_files_and_the_same_story(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    put(paths.partial(ONE), bytes(10))
    put(paths.partial(ONE, JOURNAL), journal.header(ONE, 10) + b"torn")
    strays = [put(paths.partial(TWO), bytes(10)), paths.partial(TWO, JOURNAL)]
    strays.append(put(paths.partial(THREE, JOURNAL), journal.header(THREE, 10)))
    found = scan(OsFiles(tmp_path), paths)
    assert [(p.digest, p.size) for p in found.partials] == [(ONE, 10)]
    assert sorted(found.strays) == sorted(strays)


def test_a_journal_of_another_blob_or_size_is_a_stray(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    for digest, told in ((ONE, journal.header(TWO, 10)), (TWO, journal.header(TWO, 11)), (THREE, b"garbage")):
        put(paths.partial(digest), bytes(10))
        put(paths.partial(digest, JOURNAL), told)
    found = scan(OsFiles(tmp_path), paths)
    assert found.partials == []
    assert len(found.strays) == 6


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    put(paths.blobs("sha256") / "README")
    put(paths.blobs("sha256") / ("A" * 64))
    put(paths.partials("sha256") / "notes.journal")
    (paths.blobs("sha256") / ("b" * 64)).symlink_to("/etc/passwd")
    found = scan(OsFiles(tmp_path), paths)
    assert (found.blobs, found.partials, found.strays) == ([], [], [])


def test_uploads_by_session(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    put(paths.upload("sha256", "a_B-1"), b"123")
    put(paths.upload("sha512", "two"), b"")
    twice = put(paths.upload("sha512", "a_B-1"), b"1")
    put(paths.uploads("sha256") / "not.ours")
    found = scan(OsFiles(tmp_path), paths)
    assert found.uploads == {"a_B-1": ("sha256", 3), "two": ("sha512", 0)}
    assert found.strays == [twice]
