import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2p.cli.app import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "node.toml"
    listen = "".join(f'[{part}]\nlisten = "127.0.0.1:0"\n' for part in ("registry", "peer", "metrics"))
    file.write_text(f"{listen}[store]\nminimum_free = 0.0\n")
    return file


def test_a_good_host(tmp_path: Path, config: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "--config", str(config), "--state", str(tmp_path)])
    assert result.exit_code == 0
    assert "✓ python" in result.stdout
    assert "✗" not in result.stdout


def test_a_bad_one(tmp_path: Path, config: Path) -> None:
    arguments = ["doctor", "--config", str(config), "--state", str(config), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["good"]
    assert [finding["thing"] for finding in report["findings"] if finding["verdict"] == "bad"] == ["state"]


def test_a_broken_configuration(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[registry\n")
    result = CliRunner(env={"HOME": os.environ.get("HOME", "/")}).invoke(
        main, ["doctor", "--config", str(tmp_path / "x.toml")]
    )
    assert result.exit_code == 2
    assert "not valid TOML" in result.stderr
