from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.sim.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_group_is_run_tabled_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out, docs = tmp_path / "out", tmp_path / "docs"
    wanted = ["honest", "hostile", "besieged", "--seeds", "2"]
    assert main([*wanted, "--out", str(out), "--docs", str(docs)]) == 0
    printed = capsys.readouterr().out
    assert "30 % hostile" in printed
    assert "90 % hostile" in printed
    assert "(seed " in printed
    assert [path.name for path in out.iterdir() if path.suffix == ".png"] == ["hostile.png"]
    assert [path.name for path in docs.iterdir()] == ["hostile.svg"]


def test_an_unknown_group_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "no such group: nonsense" in capsys.readouterr().err
