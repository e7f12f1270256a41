import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2p.cli.app import main
from tests.support.push_registry import registry_in_a_thread
from tests.support.toolkit_rig import make


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def test_a_copy_and_one_within_the_registry(tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    runner = CliRunner()
    with registry_in_a_thread() as source, registry_in_a_thread() as goal:
        for ref in ("multi", "signature"):
            runner.invoke(main, ["push", str(made.root), f"{source}/app:{ref}", "--ref", ref])
        arguments = ["copy", f"{source}/app:multi", f"{goal}/app:1", "--all-platforms", "--referrers"]
        result = runner.invoke(main, arguments)
        assert result.exit_code == 0
        assert made.multi.digest in result.stdout
        assert "1 referrers" in result.stdout
        assert "copying" in result.stderr
        within = ["copy", f"{goal}/app:1", f"{goal}/b:1", "--platform", "linux/arm64", "--json"]
        report = json.loads(runner.invoke(main, within).stdout)
        assert report["digest"] == made.multi.manifests[1].digest
        assert report["blobs"] == {"uploaded": 0, "mounted": 3, "skipped": 0}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a:1", "b:1", "--platform", "linux/arm64", "--all-platforms"], 2, "contradicts --all-platforms"),
        (["a:1", "b:1", "--platform", "linux"], 2, "malformed"),
        (["a:1", "b:1", "--node", "localhost"], 2, "is not a URL"),
        (["127.0.0.1:1/a:1", "127.0.0.1:1/b:1"], 1, "refuses connections"),
    ],
)
def test_errors(arguments: list[str], code: int, words: str) -> None:
    result = CliRunner().invoke(main, ["copy", *arguments])
    assert words in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.output
