"""OCI images made on the spot, with no network: an OCI layout directory and what is in it.

Layers are ``tar+gzip`` with stored (uncompressed) deflate blocks: every client unpacks them, none is
tempted to compress them again (which would change the digest), and a GiB takes two seconds to make.
Content is pseudo-random from a seed, so that a chunk in the wrong place cannot go unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

EMPTY_LAYER = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")
"""Docker's well-known empty layer: 1,024 zero bytes of tar, gzipped; ``sha256:a3ed95ca…``."""

BLOCK = 4 * MIB


@dataclass(frozen=True, slots=True)
class Content:
    """One blob of a layout: ``path`` of its file, ``size`` in bytes; ``diff_id`` for layers."""

    digest: str
    size: int
    media_type: str
    path: Path
    diff_id: str = ""

    def descriptor(self, **extra: Any) -> dict[str, Any]:
        """Give the descriptor, with more members if asked."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **extra}


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest or index and all that it refers to, children first."""

    top: Content
    manifests: tuple[Content, ...]
    blobs: tuple[Content, ...]

    @property
    def digest(self) -> str:
        """The digest that a client stores for the tag."""
        return self.top.digest

    @property
    def size(self) -> int:
        """Bytes of all distinct blobs and manifests."""
        return sum({c.digest: c.size for c in (*self.manifests, *self.blobs, self.top)}.values())


def random_bytes(size: int, seed: int) -> Iterator[bytes]:
    """Yield ``size`` pseudo-random bytes in blocks of 4 MiB; each block is stamped with its number."""
    base = random.Random(seed).randbytes(min(size, BLOCK))
    for number, start in enumerate(range(0, size, BLOCK)):
        length = min(BLOCK, size - start)
        stamp = number.to_bytes(8, "big")
        yield base[:length] if length < 8 else stamp + base[8:length]


@dataclass(slots=True)
class OciLayout:
    """An OCI layout directory under construction."""

    root: Path
    _entries: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self.root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def layer(self, name: str, size: int, *, seed: int, media_type: str = OCI_LAYER) -> Content:
        """Make a layer that holds one file ``name`` of ``size`` pseudo-random bytes."""
        temporary = self.root / f"making-{seed}"
        diff, digest, written = hashlib.sha256(), hashlib.sha256(), 0
        gzip = zlib.compressobj(0, zlib.DEFLATED, 31)
        with temporary.open("wb") as file:
            for piece in _tar(name, size, seed):
                diff.update(piece)
                packed = gzip.compress(piece)
                digest.update(packed)
                written += file.write(packed)
            packed = gzip.flush()
            digest.update(packed)
            written += file.write(packed)
        path = self._path(digest.hexdigest())
        temporary.rename(path)
        return Content(
            f"sha256:{digest.hexdigest()}", written, media_type, path, f"sha256:{diff.hexdigest()}"
        )

    def empty_layer(self, media_type: str = OCI_LAYER) -> Content:
        """Add Docker's well-known empty layer."""
        diff = hashlib.sha256(zlib.decompress(EMPTY_LAYER, 31)).hexdigest()
        blob = self.add(EMPTY_LAYER, media_type)
        return Content(blob.digest, blob.size, media_type, blob.path, f"sha256:{diff}")

    def add(self, data: bytes, media_type: str) -> Content:
        """Write one blob."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        path.write_bytes(data)
        return Content(f"sha256:{digest}", len(data), media_type, path)

    def image(
        self,
        layers: Sequence[Content],
        *,
        architecture: str = "amd64",
        tag: str = "",
        docker: bool = False,
    ) -> Image:
        """Make an image of ``layers``; ``docker`` for Docker's schema 2 in place of OCI's manifest."""
        config = self.add(
            _json(
                {
                    "architecture": architecture,
                    "os": "linux",
                    "config": {"Cmd": ["/none"], "Labels": {"layers": str(len(layers))}},
                    "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                    "history": [{"created_by": f"layer {n}"} for n in range(len(layers))],
                }
            ),
            DOCKER_CONFIG if docker else OCI_CONFIG,
        )
        media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
        manifest = self.add(
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": media_type,
                    "config": config.descriptor(),
                    "layers": [layer.descriptor() for layer in layers],
                }
            ),
            media_type,
        )
        if tag:
            self._tag(manifest, tag)
        return Image(manifest, (manifest,), (config, *layers))

    def index(self, images: dict[str, Image], *, tag: str = "") -> Image:
        """Make an index over images by architecture."""
        top = self.add(
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_INDEX,
                    "manifests": [
                        image.top.descriptor(platform={"os": "linux", "architecture": architecture})
                        for architecture, image in images.items()
                    ],
                }
            ),
            OCI_INDEX,
        )
        if tag:
            self._tag(top, tag)
        manifests = tuple(m for image in images.values() for m in image.manifests)
        blobs = tuple(b for image in images.values() for b in image.blobs)
        return Image(top, manifests, blobs)

    def _path(self, digest: str) -> Path:
        return self.root / "blobs" / "sha256" / digest

    def _tag(self, top: Content, tag: str) -> None:
        annotations = {"org.opencontainers.image.ref.name": tag}
        self._entries.append(top.descriptor(annotations=annotations))
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self._entries}
        (self.root / "index.json").write_bytes(_json(index))


def small_layers(layout: OciLayout, count: int, size: int, *, seed: int) -> list[Content]:
    """Make ``count`` distinct layers of about ``size`` bytes."""
    return [layout.layer(f"file-{seed}-{n}", size, seed=seed + n) for n in range(count)]


def _tar(name: str, size: int, seed: int) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    yield header.tobuf(tarfile.GNU_FORMAT)
    yield from random_bytes(size, seed)
    yield bytes(-size % 512 + 1024)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
