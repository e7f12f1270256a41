import json
import tarfile
from pathlib import Path

from p2p.cli.demo_image import SIZES, make_image
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import parse_manifest


def test_the_demo_is_of_the_promised_size() -> None:
    assert sum(SIZES) >= 200_000_000


def test_the_image_is_whole_and_every_blob_has_its_digest(tmp_path: Path) -> None:
    image = make_image(tmp_path / "demo", "demo:1", (5000, 100))
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "demo/blobs/sha256").iterdir()}
    for name, data in blobs.items():
        assert Digest.of(data).hex == name
    index = parse_manifest(blobs[image.index.digest.hex], image.index.media_type)
    manifest = parse_manifest(blobs[index.manifests[0].digest.hex], index.manifests[0].media_type)
    assert {child.digest.hex for child in manifest.children} < set(blobs)
    assert image.blobs == len(manifest.children) == 3
    assert image.size == sum(map(len, blobs.values()))
    assert len(blobs) == 5
    with tarfile.open(tmp_path / "demo/blobs/sha256" / manifest.layers[0].digest.hex) as archive:
        assert [(m.name, m.size) for m in archive] == [("payload-0", 5000)]
    listed = json.loads((tmp_path / "demo/index.json").read_text())["manifests"]
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in listed] == ["demo:1"]
    assert not list((tmp_path / "demo/blobs").glob(".*"))
