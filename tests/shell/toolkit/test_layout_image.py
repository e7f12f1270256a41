import gzip
import shutil
from pathlib import Path

import pytest

from p2p.core.oci.digest import Digest
from p2p.errors import LocalError, VerificationError
from p2p.toolkit.layout import pack
from p2p.toolkit.layout_image import LayoutImage
from tests.support.toolkit_rig import Made


@pytest.fixture(params=["directory", "tar"])
def place(request, made: Made, tmp_path: Path) -> Path:
    if request.param == "directory":
        return made.root
    pack(made.root, tmp_path / "made.tar")
    return tmp_path / "made.tar"


async def test_an_image_is_found_by_its_name(place: Path, made: Made) -> None:
    image = LayoutImage(place)
    assert str((await image.entry("multi")).digest) == made.multi.digest
    assert str((await image.manifest("one")).descriptor.digest) == made.one.digest
    with pytest.raises(LocalError, match=r"it has 2 images. Choose one of: one, multi$"):
        await image.entry()
    with pytest.raises(LocalError, match="no image two"):
        await image.entry("two")


async def test_a_blob_from_an_offset(place: Path, made: Made) -> None:
    image = LayoutImage(place)
    await image.entry("one")
    blob = made.one.blobs[1]
    async with image.blob(Digest.parse(blob.digest), 100) as (begins, parts):
        assert begins == 100
        assert b"".join([part async for part in parts]) == blob.path.read_bytes()[100:]
    with pytest.raises(LocalError, match="it has no blobs/sha256"):
        async with image.blob(Digest.of(b"other"), 0):
            pass


async def test_referrers(place: Path, made: Made) -> None:
    image = LayoutImage(place)
    await image.entry("one")
    found = await image.referrers(Digest.parse(made.multi.digest))
    assert [str(referrer.digest) for referrer in found] == [made.signature.digest]
    assert await image.referrers(Digest.parse(made.one.digest)) == ()


async def test_a_manifest_is_verified(made: Made) -> None:
    made.one.top.path.write_bytes(made.one.top.path.read_bytes() + b" ")
    with pytest.raises(VerificationError, match="it hashes to"):
        await LayoutImage(made.root).manifest("one")


@pytest.mark.parametrize(
    ("index", "words"),
    [("{", "can't be read"), ("[]", "can't be read"), ('{"manifests":[{}]}', "can't be read")],
)
async def test_an_index_that_is_none(index: str, words: str, made: Made) -> None:
    (made.root / "index.json").write_text(index)
    with pytest.raises(LocalError, match=words):
        await LayoutImage(made.root).entry()


async def test_what_is_no_layout(made: Made, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is nothing"):
        await LayoutImage(tmp_path / "none").entry()
    shutil.rmtree(made.root / "blobs")
    (made.root / "index.json").unlink()
    with pytest.raises(LocalError, match=r"it has no index\.json"):
        await LayoutImage(made.root).entry()
    packed = tmp_path / "x.tar"
    packed.write_bytes(gzip.compress(b"x" * 2000))
    with pytest.raises(LocalError, match="no uncompressed tar"):
        await LayoutImage(packed).entry()
