import json
import tarfile
from pathlib import Path

import pytest

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.errors import LocalError, VerificationError
from p2p.toolkit.layout import REF_NAME, Layout, pack

DATA = b"0123456789" * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "out")
    layout.create()
    return layout


def test_a_blob_is_written_resumed_and_verified(layout: Layout) -> None:
    first = layout.writer(DIGEST, len(DATA))
    assert first.resume() == 0
    first.write(DATA[:3000])
    first.close()
    assert not layout.holds(DIGEST, len(DATA))
    second = layout.writer(DIGEST, len(DATA))
    assert second.resume() == 3000
    second.write(DATA[3000:])
    second.finish()
    second.close()
    assert layout.holds(DIGEST, len(DATA))
    assert layout.path(DIGEST).read_bytes() == DATA
    assert [p.name for p in layout.path(DIGEST).parent.iterdir()] == [DIGEST.hex]


def test_wrong_and_too_many_bytes_never_get_the_name(layout: Layout) -> None:
    writer = layout.writer(DIGEST, len(DATA))
    writer.resume()
    writer.write(b"x" * len(DATA))
    with pytest.raises(VerificationError, match="do not match"):
        writer.finish()
    assert writer.written == 0
    with pytest.raises(VerificationError, match="more than its"):
        writer.write(DATA + b"!")
    writer.close()
    assert list(layout.path(DIGEST).parent.iterdir()) == []


def test_a_partial_that_is_too_long_is_dropped(layout: Layout) -> None:
    long = layout.writer(DIGEST, len(DATA) * 2)
    long.resume()
    long.write(DATA + b"!")
    long.close()
    short = layout.writer(DIGEST, len(DATA))
    assert short.resume() == 0
    short.close()


def test_the_index_lists_each_name_once(layout: Layout) -> None:
    one = Descriptor(OCI_MANIFEST, Digest.of(b"1"), 1, annotations=(("a", "b"),))
    two = Descriptor(OCI_MANIFEST, Digest.of(b"2"), 1)
    layout.add(one, "app:1")
    layout.add(one, "app:2")
    layout.add(two, "app:1")
    entries = json.loads((layout.root / "index.json").read_text())["manifests"]
    assert [(e["digest"], e["annotations"][REF_NAME]) for e in entries] == [
        (str(one.digest), "app:2"),
        (str(two.digest), "app:1"),
    ]
    assert entries[0]["annotations"]["a"] == "b"


def test_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(LocalError, match="not empty"):
        Layout(tmp_path).create()


def test_equal_layouts_give_equal_tars(tmp_path: Path) -> None:
    for name in ("a", "b"):
        layout = Layout(tmp_path / name)
        layout.create()
        for data in (b"1", b"2") if name == "a" else (b"2", b"1"):
            layout.put(Digest.of(data), data)
        layout.add(Descriptor(OCI_MANIFEST, Digest.of(b"1"), 1), "x:1")
        pack(layout.root, tmp_path / f"{name}.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
        assert names == sorted(names)
        assert {"oci-layout", "index.json", f"blobs/sha256/{Digest.of(b'1').hex}"} <= set(names)
        assert {(m.mtime, m.uid, m.uname) for m in archive} == {(0, 0, "")}
