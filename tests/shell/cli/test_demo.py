from pathlib import Path

import pytest
from rich.console import Console

from p2p.cli.demo import lay_out, scratch
from p2p.cli.demo_network import Row
from p2p.errors import LocalError


def test_the_scratch_directory_is_gone_whatever_happened() -> None:
    kept: list[Path] = []

    def fail() -> None:
        with scratch(0) as root:
            kept.append(root)
            (root / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not kept[0].exists()


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(LocalError, match="TMPDIR"), scratch(1 << 60):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_table_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("node-1", 1 << 20, 0, 1.25), Row("node-2", 0, 3 << 20, 2.0)]
    Console(width=80).print(lay_out(rows, 3 << 20))
    text = capsys.readouterr().out
    for words in ("node-1", "1.0 MiB", "3.0 MiB", "together", "the origin gave 3.0 MiB"):
        assert words in text
