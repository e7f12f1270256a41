import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2p.cli.app import main
from p2p.cli.demo_image import make_image
from p2p.cli.pull import default_output, run
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.toolkit.image import ImageName


def test_the_output_is_named_after_the_image() -> None:
    assert default_output(ImageName.parse("ghcr.io/org/app:1.2")) == Path("app-1.2")
    assert default_output(ImageName.parse(f"app@sha256:{'ab' * 32}")) == Path("app-abababababab")


async def test_a_tar_holds_the_layout_and_nothing_else_is_left(registry, open_server, tmp_path: Path) -> None:
    make_image(tmp_path / "source", "app:1", (5000,))
    for path in (tmp_path / "source/blobs/sha256").iterdir():
        data = path.read_bytes()
        kind = json.loads(data).get("mediaType", OCI_MANIFEST) if data.startswith(b"{") else "a/b"
        for place in ("blobs", "manifests"):
            registry.content[f"app/{place}/sha256:{path.name}"] = (kind, data)
        if data.startswith(b"{") and "manifests" in json.loads(data):
            registry.content["app/manifests/1"] = (kind, data)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out/app.tar"
    async with open_server(registry.handle) as url:
        pulled = await run(url, "app:1", target, None, everything=True, quiet=True)
    assert pulled.blobs == 2
    with tarfile.open(target) as archive:
        assert "index.json" in archive.getnames()
    assert list((tmp_path / "out").iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["Nginx"], 2, "must be lower case"),
        (["nginx", "--all", "--platform", "linux/arm64"], 2, "contradicts --all"),
        (["nginx", "--platform", "linux"], 2, "platform 'linux' is malformed"),
        (["nginx", "--node", "localhost:5000"], 2, "is not a URL"),
        (["nginx", "--node", "http://127.0.0.1:1"], 1, "Start one with: remora node"),
    ],
)
def test_errors(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["pull", *arguments, "-o", str(tmp_path / "out")])
    assert words in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.output
