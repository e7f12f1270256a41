import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from p2p.cli.app import main
from p2p.cli.status import readable, render

REPORT = {
    "node": "abcd",
    "uptime": 61.25,
    "addresses": {"registry": "127.0.0.1:5000"},
    "transfer": {"received_peers": 3 << 20, "bans": 0, "banned": {}},
    "store": {"blobs": 2, "blob_bytes": 5 << 30, "healthy": True},
    "requests": {"requests": [["blob", 200, 4]], "sent": 1 << 20},
    "swarms": [{"digest": "sha256:ab", "size": 1 << 20, "origin": False}],
    "empty": [],
}


def test_everything_is_shown() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(REPORT))
    text = console.export_text()
    for words in (
        "abcd",
        "61.2",
        "127.0.0.1:5000",
        "3.0 MiB",
        "5.0 GiB",
        "yes",
        "sha256:ab",
        "swarms",
        '["blob", 200, 4]',
    ):
        assert words in text
    assert "empty" not in text


def test_values() -> None:
    assert readable("peers", 3) == "3"
    assert readable("free", 1 << 30) == "1.0 GiB"
    assert readable("name", "") == readable("name", None) == "-"


def test_no_node(tmp_path: Path) -> None:
    for command in (["status"], ["explain", f"sha256:{'0' * 64}"]):
        result = CliRunner().invoke(main, [*command, "--state", str(tmp_path), "--json"])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"remora: node at {tmp_path}: no node is running there")


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command(tmp_path: Path, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2p.cli.admin.ask", lambda state, path: REPORT | {"asked": path})
    result = CliRunner().invoke(main, ["status", "--state", str(tmp_path), *(["--json"] if as_json else [])])
    assert result.exit_code == 0
    assert "/status" in result.stdout
    if as_json:
        assert json.loads(result.stdout)["store"] == REPORT["store"]


def test_a_list_of_objects_within_a_part_has_a_table_of_its_own() -> None:
    limits = [{"limit": "down", "rate_bytes": 5 << 20, "waited_seconds": 1.25}]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render({"transfer": {"swarms": 3, "limits": limits, "none": []}}))
    text = console.export_text()
    assert "rate bytes" in text
    assert "5.0 MiB" in text
    assert "{" not in text
