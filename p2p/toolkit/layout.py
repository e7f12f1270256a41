"""An OCI image layout on disk (image-spec, "Image Layout"), and a reproducible tar of one."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from typing import IO, TYPE_CHECKING, Final

from p2p.errors import LocalError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest

REF_NAME: Final = "org.opencontainers.image.ref.name"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
_READ = 1 << 20


class BlobWriter:
    """One blob on its way into a layout: hashed as it is written, renamed into place when it holds.

    What an earlier, broken pull left is taken up by ``resume``. Methods block: call them from a thread
    for more than a few KiB.
    """

    def __init__(self, path: Path, digest: Digest, size: int) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._digest = digest
        self._size = size
        self._hash = hashlib.new(digest.algorithm)
        self._file: IO[bytes] | None = None
        self.written = 0

    def resume(self) -> int:
        """Open the file, hash what is there, and give its length in bytes."""
        self._file = self._part.open("a+b")
        self._file.seek(0)
        if os.fstat(self._file.fileno()).st_size > self._size:
            self._file.truncate(0)
        while data := self._file.read(_READ):
            self._hash.update(data)
            self.written += len(data)
        return self.written

    def write(self, data: bytes | bytearray) -> None:
        """Append; VerificationError as soon as there is more than the descriptor says."""
        assert self._file is not None
        if self.written + len(data) > self._size:
            raise VerificationError(str(self._digest), f"more than its {self._size} bytes came")
        self._file.write(data)
        self._hash.update(data)
        self.written += len(data)

    def restart(self) -> None:
        """Forget what was written."""
        assert self._file is not None
        self._file.truncate(0)
        self._hash = hashlib.new(self._digest.algorithm)
        self.written = 0

    def finish(self) -> None:
        """Rename it into place if it holds; otherwise drop it and raise VerificationError."""
        assert self._file is not None
        if self._hash.hexdigest() != self._digest.hex:
            self.restart()
            raise VerificationError(
                str(self._digest), "the bytes that came do not match it", "Try again; see the node's log"
            )
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._part.rename(self._path)

    def close(self) -> None:
        """Close the file; what is there stays for ``resume``."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self.written:
            self._part.unlink(missing_ok=True)


class Layout:
    """A layout directory that is being filled; its methods block and let OSErrors through."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Make the directories; LocalError if something else is in the way."""
        if self.root.exists() and not (self.root / "oci-layout").exists() and any(self.root.iterdir()):
            raise LocalError(
                f"output {self.root}",
                "it is not empty and no OCI layout",
                "Name another directory with --output",
            )
        (self.root / "blobs").mkdir(parents=True, exist_ok=True)
        (self.root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def path(self, digest: Digest) -> Path:
        """Where a blob lies."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    def holds(self, digest: Digest, size: int) -> bool:
        """Whether a blob of this length is there (it was verified when it was put there)."""
        path = self.path(digest)
        return path.is_file() and path.stat().st_size == size

    def writer(self, digest: Digest, size: int) -> BlobWriter:
        """Begin or resume a blob."""
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return BlobWriter(path, digest, size)

    def put(self, digest: Digest, data: bytes) -> None:
        """Write a small blob whole."""
        writer = self.writer(digest, len(data))
        try:
            writer.resume()
            writer.restart()
            writer.write(data)
            writer.finish()
        finally:
            writer.close()

    def add(self, descriptor: Descriptor, ref_name: str) -> None:
        """List an image in ``index.json`` under a name, in place of what had that name."""
        path = self.root / "index.json"
        manifests = json.loads(path.read_bytes())["manifests"] if path.is_file() else []
        kept = [entry for entry in manifests if entry.get("annotations", {}).get(REF_NAME) != ref_name]
        entry = descriptor.to_json()
        annotations = dict(descriptor.annotations) | {REF_NAME: ref_name}
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [*kept, {**entry, "annotations": annotations}],
        }
        temporary = path.with_name(".index.json.part")
        temporary.write_text(json.dumps(index, separators=(",", ":")))
        temporary.rename(path)


def pack(root: Path, target: Path) -> None:
    """Write a layout as a tar: sorted, owned by 0, dated 0, so that equal layouts give equal bytes."""
    part = target.with_name(f".{target.name}.part")
    names = sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*") if not path.name.startswith(".")
    )
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            path = root / name
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if path.is_dir() else 0o644
            if path.is_dir():
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                continue
            member.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(member, file)
    part.rename(target)
