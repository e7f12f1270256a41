from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.config import DhtSettings
from p2p.discovery.dht.keyring import OPEN_KEY, PREFIX, new_key, parse_key, read_keys
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (new_key() for _ in range(3))


def test_made_and_read() -> None:
    assert ONE.startswith(PREFIX)
    assert ONE != TWO
    assert len(parse_key(ONE, "here")) == 32
    assert parse_key(f" {ONE.removeprefix(PREFIX)}\n", "here") == parse_key(ONE, "here")


@pytest.mark.parametrize("text", ["", "short", PREFIX, "z" * 64, ONE + "0"])
def test_what_is_none_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_key(text, "here")
    assert not text or text not in str(raised.value)


def test_the_ring(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"# ours\n{ONE}  # new\n\n")
    assert read_keys(DhtSettings()) == ()
    assert read_keys(DhtSettings(open=True)) == (OPEN_KEY,)
    assert read_keys(DhtSettings(cluster_keys=(ONE,), enabled=False)) == ()
    keys = tuple(parse_key(text, "") for text in (TWO, ONE))
    assert read_keys(DhtSettings(cluster_keys=(TWO,), cluster_key_file=str(file))) == keys
    assert read_keys(DhtSettings(cluster_keys=(TWO,), open=True)) == keys[:1], "a key closes it"
    with pytest.raises(ConfigError):
        read_keys(DhtSettings(cluster_keys=(ONE, TWO, THREE)))


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"\xff\xfe")
    for file in (tmp_path / "nowhere", bad, tmp_path):
        with pytest.raises(ConfigError):
            read_keys(DhtSettings(cluster_key_file=str(file)))
