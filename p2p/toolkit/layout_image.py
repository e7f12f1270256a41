"""An image in an OCI layout, a directory or a tar of one: the `Source` of a push.

A blob in an uncompressed tar is a span of its file, so nothing is ever unpacked.
"""

from __future__ import annotations

import json
import tarfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import parse_manifest
from p2p.errors import LocalError
from p2p.toolkit.image import MANIFEST_LIMIT, too_long, verify_manifest
from p2p.toolkit.layout import REF_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from p2p.core.oci.digest import Digest
    from p2p.toolkit.api import FetchedManifest

PART: Final = 1 << 20
"""Bytes of one read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a member lies: ``size`` bytes of a file from ``start``."""

    path: Path
    start: int
    size: int


class LayoutImage:
    """The content of one layout. LocalError, naming it, where something is missing or unreadable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, Extent] | None = None

    async def entry(self, name: str = "") -> Descriptor:
        """Give the image that ``index.json`` lists under a name, without one the only one that it lists."""
        if not await trio.Path(self._path).exists():
            raise self._fault("there is nothing", "Give an OCI layout directory or a tar of one")
        if await trio.Path(self._path).is_file():
            self._members = await trio.to_thread.run_sync(self._scan)
        entries = await self._entries()
        names = [dict(entry.annotations).get(REF_NAME, "") for entry in entries]
        fits = [entry for entry, known in zip(entries, names, strict=True) if not name or known == name]
        if len(fits) > 1:
            # A signature is no image of its own where what it signs lies beside it.
            here = {entry.digest for entry in entries}
            fits = [entry for entry in fits if await self._subject(entry) not in here] or fits
        if len(fits) == 1:
            return fits[0]
        offered = fits or entries
        known = dict(zip(entries, names, strict=True))
        listed = ", ".join(known[entry] or str(entry.digest) for entry in offered)
        cause = f"it has no image {name}" if not fits else f"it has {len(fits)} images"
        raise self._fault(cause, f"Choose one of: {listed}" if listed else "")

    async def manifest(self, reference: str, expected: Descriptor | None = None) -> FetchedManifest:
        """Read a manifest by its digest."""
        digest = expected.digest if expected is not None else (await self.entry(reference)).digest
        content_type = expected.media_type if expected is not None else None
        data = await self._read(_member(digest))
        return verify_manifest(str(self._path), data, content_type, str(digest), expected)

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int) -> AsyncGenerator[tuple[int, AsyncIterator[bytes]]]:
        """Open a blob's file; it is verified by whoever pushes it."""
        extent = await self._find(_member(digest))
        try:
            file = await trio.to_thread.run_sync(extent.path.open, "rb")
        except OSError as error:
            raise self._fault(f"{digest} can't be read: {error.strerror}") from error
        try:
            file.seek(extent.start + offset)
            yield offset, _Parts(self, file, max(0, extent.size - offset))
        finally:
            file.close()

    async def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """List those images of ``index.json`` whose subject is this one."""
        return tuple([entry for entry in await self._entries() if await self._subject(entry) == digest])

    async def _entries(self) -> list[Descriptor]:
        data = await self._read("index.json")
        try:
            return [Descriptor.from_json(entry) for entry in json.loads(data)["manifests"]]
        except (ValueError, KeyError, TypeError, RecursionError, RegistryError) as error:
            raise self._fault("its index.json can't be read", "Make the layout anew") from error

    async def _subject(self, entry: Descriptor) -> Digest | None:
        manifest = parse_manifest(await self._read(_member(entry.digest)), entry.media_type)
        return None if manifest.subject is None else manifest.subject.digest

    async def _read(self, name: str) -> bytes:
        extent = await self._find(name)
        if extent.size > MANIFEST_LIMIT:
            raise too_long(str(self._path))

        def read() -> bytes:
            with extent.path.open("rb") as file:
                file.seek(extent.start)
                return file.read(extent.size)

        try:
            return await trio.to_thread.run_sync(read)
        except OSError as error:
            raise self._fault(f"its {name} can't be read: {error.strerror}") from error

    async def _find(self, name: str) -> Extent:
        if self._members is not None:
            if name in self._members:
                return self._members[name]
        else:
            path = self._path / name
            if await trio.Path(path).is_file():
                return Extent(path, 0, (await trio.Path(path).stat()).st_size)
        raise self._fault(f"it has no {name}", "It is no whole OCI layout; pull or save the image anew")

    def _scan(self) -> dict[str, Extent]:
        try:
            with tarfile.open(self._path, "r:") as archive:
                return {
                    member.name.removeprefix("./"): Extent(self._path, member.offset_data, member.size)
                    for member in archive
                    if member.isreg()
                }
        except (OSError, tarfile.TarError) as error:
            raise self._fault(
                f"it is no uncompressed tar ({error})", "Unpack it, or save it without gzip"
            ) from error

    def _fault(self, cause: str, mend: str = "") -> LocalError:
        return LocalError(f"layout {self._path}", cause, mend)

    def fault(self, error: OSError) -> LocalError:
        """Complain of a read that failed."""
        return self._fault(f"it can't be read: {error.strerror or error}")


class _Parts:
    """The bytes of an open file up to an end. No generator: it may be left in the middle."""

    def __init__(self, image: LayoutImage, file: IO[bytes], left: int) -> None:
        self._image = image
        self._file = file
        self._left = left

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        try:
            part = await trio.to_thread.run_sync(self._file.read, min(PART, self._left))
        except OSError as error:
            raise self._image.fault(error) from error
        if not part:
            raise StopAsyncIteration
        self._left -= len(part)
        return part


def _member(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
