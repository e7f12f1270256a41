import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2p.cli.app import main
from tests.support.push_registry import registry_in_a_thread
from tests.support.toolkit_rig import Made, make


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path / "made")


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def remora(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_push_and_the_same_again(made: Made) -> None:
    with registry_in_a_thread() as host:
        first = remora("push", str(made.root), f"{host}/app:1", "--ref", "multi")
        assert first.exit_code == 0
        assert made.multi.digest in first.stdout
        assert "5 blobs uploaded" in first.stdout
        assert first.stderr.count("pushing") == first.stderr.count("done") == 5
        again = remora("push", str(made.root), f"{host}/app:1", "--ref", "multi", "--json")
        report = json.loads(again.stdout)
        assert again.stderr == ""
        assert report["digest"] == made.multi.digest
        assert report["blobs"] == {"uploaded": 0, "mounted": 0, "skipped": 5}


def test_what_refers_to_it_goes_along_where_asked_for(made: Made) -> None:
    with registry_in_a_thread() as host:
        target = f"{host}/app:1"
        pushed = remora("push", str(made.root), target, "--ref", "multi", "--referrers", "--json")
        assert json.loads(pushed.stdout)["referrers"] == 1
        shown = json.loads(remora("inspect", target, "--json").stdout)
        assert [one["digest"] for one in shown["referrers"]] == [made.signature.digest]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{root}"], 2, "Missing argument"),
        (["{root}", "127.0.0.1:1/App:1"], 2, "must be lower case"),
        (["{root}", "127.0.0.1:1/app:1", "--ref", "one"], 1, "refuses connections"),
        (["{root}", "127.0.0.1:1/app:1"], 1, "Choose one of"),
        (["{root}/none", "127.0.0.1:1/app:1"], 1, "there is nothing"),
    ],
)
def test_errors(arguments: list[str], code: int, words: str, made: Made) -> None:
    result = remora("push", *(argument.format(root=made.root) for argument in arguments))
    assert words in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.output
