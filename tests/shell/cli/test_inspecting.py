import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2p.cli.app import main
from p2p.cli.inspecting import lines
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST, Manifest
from p2p.toolkit.inspecting import ConfigSummary, Inspected, Part
from tests.support.push_registry import registry_in_a_thread
from tests.support.toolkit_rig import SIGNATURE, make

CONFIG = ConfigSummary(
    os="linux",
    architecture="arm64",
    variant="",
    created="2026-01-01T00:00:00Z",
    user="me",
    working_dir="/srv",
    entrypoint=("/bin/app", "--serve"),
    command=(),
    env=(),
    ports=("80/tcp",),
    labels=(("name", "\x1b[31mred"),),
)


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def test_an_index_as_text_and_as_json(tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    runner = CliRunner()
    with registry_in_a_thread() as host:
        for ref in ("multi", "signature"):
            runner.invoke(main, ["push", str(made.root), f"{host}/app:{ref}", "--ref", ref])
        text = runner.invoke(main, ["inspect", f"{host}/app:multi"])
        report = json.loads(runner.invoke(main, ["inspect", f"{host}/app:multi", "--json"]).stdout)
    assert text.exit_code == 0
    assert "linux/amd64, linux/arm64" in text.stdout
    assert made.signature.digest in text.stdout
    assert report["digest"] == made.multi.digest
    assert report["manifest"] == json.loads(made.multi.top.path.read_bytes())
    assert report["platforms"] == ["linux/amd64", "linux/arm64"]
    assert report["images"][0]["config"]["command"] == ["/none"]
    assert [entry["digest"] for entry in report["referrers"]] == [made.signature.digest]


def test_what_an_image_says_of_itself_steers_no_terminal() -> None:
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(b"x"), 1)
    part = Part(descriptor, (descriptor,), SIGNATURE, (), CONFIG, 2048)
    inspected = Inspected("app:1", descriptor, Manifest(OCI_MANIFEST), b"x", (part,), ())
    shown = "\n".join(lines(inspected))
    assert "\x1b" not in shown
    for words in ("linux/arm64", "2.0 KiB", "/bin/app --serve", "80/tcp", "2026-01-01", "name= [31mred"):
        assert words in shown
    assert "command" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["App"], 2, "must be lower case"),
        (["127.0.0.1:1/a:1"], 1, "refuses connections"),
        (["a:1", "--node", "http://127.0.0.1:1"], 1, "Start one with: remora node"),
    ],
)
def test_errors(arguments: list[str], code: int, words: str) -> None:
    result = CliRunner().invoke(main, ["inspect", *arguments])
    assert words in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.output
