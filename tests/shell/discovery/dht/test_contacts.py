from __future__ import annotations

import pytest

from p2p.core.dht.contact import Endpoint
from p2p.discovery.dht.contacts import MOST, load, save

SOME = [Endpoint(b"\x0a\0\0\1", 5001), Endpoint(bytes(15) + b"\1", 5002)]


def test_kept_and_read(tmp_path) -> None:
    file = tmp_path / "contacts.json"
    assert load(file) == []
    save(file, SOME)
    assert load(file) == SOME
    assert [path.name for path in tmp_path.iterdir()] == ["contacts.json"]


def test_no_more_than_so_many(tmp_path) -> None:
    file = tmp_path / "contacts.json"
    save(file, [Endpoint(b"\x0a\0\0\1", port) for port in range(1, 2 * MOST)])
    assert len(load(file)) == MOST


@pytest.mark.parametrize("text", [b"", b"\x80\x04pickle", b"[[1,2]]", b'[["no address",1]]', b"{}", b"\xff"])
def test_a_file_that_makes_no_sense_is_left(tmp_path, text) -> None:
    file = tmp_path / "contacts.json"
    file.write_bytes(text)
    assert load(file) == []


def test_a_disk_that_refuses_is_no_error(tmp_path) -> None:
    save(tmp_path / "nowhere" / "contacts.json", SOME)
    assert load(tmp_path) == []
