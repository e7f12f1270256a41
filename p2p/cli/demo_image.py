"""An image made on the spot: real layers (tars), of bytes that no compression or deduplication shrinks."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.toolkit.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MIB: Final = 1 << 20
SIZES: Final = (90 * MIB, 75 * MIB, 45 * MIB, *[100 * 1024] * 8)
"""Payload of each layer in bytes: three large ones and some small ones, 221 MB together."""
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_BATCH: Final = 4 * MIB


@dataclass(frozen=True, slots=True)
class DemoImage:
    """What was made: the index that the tag names, and ``size``, the bytes of all blobs and manifests."""

    index: Descriptor
    blobs: int
    size: int


def make_image(root: Path, ref_name: str, sizes: Sequence[int] = SIZES) -> DemoImage:
    """Make an image in a new OCI layout directory under a name. Blocks, for about a second a 200 MB."""
    layout = Layout(root)
    layout.create()
    layers = [_layer(layout, number, size) for number, size in enumerate(sizes)]
    config = _put_json(
        layout,
        _CONFIG,
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
        },
    )
    manifest = _put_json(
        layout,
        OCI_MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        },
    )
    platform = {"platform": {"architecture": "amd64", "os": "linux"}}
    index = _put_json(
        layout,
        OCI_INDEX,
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**manifest.to_json(), **platform}]},
    )
    layout.add(index, ref_name)
    parts = (*layers, config, manifest, index)
    return DemoImage(index, len(layers) + 1, sum(part.size for part in parts))


def _put_json(layout: Layout, media_type: str, document: object) -> Descriptor:
    data = json.dumps(document, separators=(",", ":")).encode()
    digest = Digest.of(data)
    layout.put(digest, data)
    return Descriptor(media_type, digest, len(data))


def _layer(layout: Layout, number: int, size: int) -> Descriptor:
    # Its name is known only when it is written, so it is hashed and renamed here.
    temporary = layout.root / "blobs" / f".layer-{number}"
    hashed = hashlib.sha256()
    length = 0
    with temporary.open("wb") as file:
        for part in _tar(f"payload-{number}", size):
            hashed.update(part)
            file.write(part)
            length += len(part)
    digest = Digest("sha256", hashed.hexdigest())
    path = layout.path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(path)
    return Descriptor(_LAYER, digest, length)


def _tar(name: str, size: int) -> Iterator[bytes]:
    member = tarfile.TarInfo(name)
    member.size = size
    yield member.tobuf(tarfile.PAX_FORMAT)
    for offset in range(0, size, _BATCH):
        yield os.urandom(min(_BATCH, size - offset))
    yield bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
