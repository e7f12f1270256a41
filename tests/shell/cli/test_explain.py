import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2p.cli.app import main

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("as_json", [True, False])
def test_the_node_is_asked(tmp_path: Path, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2p.cli.admin.ask", lambda state, path, params: {"path": path, **params})
    arguments = ["explain", DIGEST, "--state", str(tmp_path), *(["--json"] if as_json else [])]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert "/explain" in result.stdout
    if as_json:
        assert json.loads(result.stdout)["digest"] == DIGEST


def test_what_is_no_digest() -> None:
    result = CliRunner().invoke(main, ["explain", "nginx"])
    assert result.exit_code == 2
    assert "digest 'nginx' is malformed" in result.stderr
