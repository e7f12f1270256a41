"""An upstream in memory: the `Origin` for tests of all that stands above it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.errors import (
    OriginError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginUnreachableError,
    VerificationError,
)
from p2p.origin.api import Fetched, Kind, Stored
from p2p.origin.readable import Readable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from p2p.origin.api import Content
    from p2p.origin.credentials import Credential

_BLOB = "application/octet-stream"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(slots=True)
class Repository:
    """One repository's content. Manifests are (media type, bytes)."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    referrers: dict[Digest, bytes] = field(default_factory=dict)


class MemoryOrigin:
    """Holds repositories and counts what it is asked for: ``requests`` in order, ``egress`` in bytes.

    ``part`` is the length of the parts that a body is given in. While ``failure`` is set all requests raise
    it. ``truncate`` cuts bodies after so many bytes. ``credentials``: whether the node has any for it.
    """

    def __init__(self, name: str = "memory", *, part: int = 64 * 1024) -> None:
        self.name = name
        self.part = part
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.egress = 0
        self.failure: OriginError | None = None
        self.truncate: int | None = None
        self.credentials = False
        self.readers: dict[str, dict[str, str]] = {}
        """Of private repositories: users and passwords, by path."""

    def put_blob(self, path: str, data: bytes) -> Digest:
        """Add a blob."""
        digest = Digest.of(data)
        self.at(path).blobs[digest] = data
        return digest

    def put_manifest(self, path: str, media_type: str, data: bytes, *tags: str) -> Digest:
        """Add a manifest under its digest and these tags."""
        digest = Digest.of(data)
        repository = self.at(path)
        repository.manifests[digest] = media_type, data
        for tag in tags:
            repository.tags[tag] = digest
        return digest

    def at(self, path: str) -> Repository:
        """Give a repository, made where there is none."""
        return self.repositories.setdefault(path, Repository())

    async def holds_credentials(self) -> bool:
        """See `Gate`."""
        return self.credentials

    async def readable(
        self, path: str, wanted: tuple[Kind, str] | None, credential: Credential | None
    ) -> Readable:
        """See `Gate`."""
        await trio.lowlevel.checkpoint()
        detail = "" if wanted is None else wanted[1]
        self.requests.append(("readable", path, detail if credential is None else f"{detail} as somebody"))
        if self.failure is not None:
            return Readable.UNKNOWN
        if path in self.readers:
            known = self.readers[path]
            right = credential is not None and known.get(credential.username) == credential.password
            return Readable.YES if right else Readable.NO
        return Readable.YES if path in self.repositories else Readable.ABSENT

    async def _asked(self, what: str, path: str, detail: str) -> Repository:
        await trio.lowlevel.checkpoint()
        self.requests.append((what, path, detail))
        if self.failure is not None:
            raise self.failure
        if path not in self.repositories:
            raise self._missing(path)
        return self.repositories[path]

    def _missing(self, what: object) -> OriginNotFoundError:
        return OriginNotFoundError(self.name, f"there is no {what}")

    async def head(self, path: str, reference: str) -> Descriptor:
        """See `Origin`."""
        repository = await self._asked("head", path, reference)
        digest = Digest.parse(reference) if ":" in reference else repository.tags.get(reference)
        if digest is None or digest not in repository.manifests:
            raise self._missing(f"{path}:{reference}")
        media_type, data = repository.manifests[digest]
        return Descriptor(media_type, digest, len(data))

    async def head_blob(self, path: str, digest: Digest) -> Descriptor:
        """See `RegistryOrigin.head_blob`."""
        repository = await self._asked("head_blob", path, str(digest))
        if digest not in repository.blobs:
            raise self._missing(f"{path}@{digest}")
        return Descriptor(_BLOB, digest, len(repository.blobs[digest]))

    @asynccontextmanager
    async def open(
        self, path: str, digest: Digest, kind: Kind, *, offset: int = 0, stop: int | None = None
    ) -> AsyncGenerator[MemoryBody]:
        """See `Origin`."""
        if offset < 0 or (stop is not None and stop <= offset):
            raise ValueError(f"no bytes from {offset} to {stop}")
        repository = await self._asked("open", path, str(digest))
        if kind is Kind.MANIFEST:
            media_type, data = repository.manifests.get(digest, ("", None))
        else:
            media_type, data = _BLOB, repository.blobs.get(digest)
        if data is None:
            raise self._missing(f"{path}@{digest}")
        if offset > len(data):
            raise OriginProtocolError(self.name, f"{digest} has {len(data)} bytes, not {offset}")
        yield MemoryBody(self, media_type, data, offset, len(data) if stop is None else min(stop, len(data)))

    async def referrers(self, path: str, digest: Digest, artifact_type: str | None) -> Fetched:
        """See `Origin`; never filters."""
        del artifact_type
        repository = await self._asked("referrers", path, str(digest))
        empty = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}).encode()
        return Fetched(_INDEX, repository.referrers.get(digest, empty))

    async def tags(self, path: str, n: int | None, last: str | None) -> Fetched:
        """See `Origin`."""
        repository = await self._asked("tags", path, "")
        names = [tag for tag in sorted(repository.tags) if last is None or tag > last]
        page = names if n is None else names[:n]
        link: tuple[tuple[str, str], ...] = ()
        if page and len(page) < len(names):
            link = (("link", f'</v2/{path}/tags/list?n={n}&last={page[-1]}>; rel="next"'),)
        data = json.dumps({"name": path, "tags": page}).encode()
        return Fetched("application/json", data, link)


class MemoryDestination:
    """A `Destination` that writes to an upstream in memory."""

    def __init__(self, origin: MemoryOrigin) -> None:
        self.name = origin.name
        self.origin = origin

    async def has_blob(self, path: str, digest: Digest) -> bool:
        """See `Destination`."""
        await self._written("has_blob", path, str(digest))
        return digest in self.origin.at(path).blobs

    async def mount(self, path: str, digest: Digest, source: str) -> bool:
        """See `Destination`."""
        await self._written("mount", path, f"{digest} from {source}")
        data = self.origin.at(source).blobs.get(digest)
        if data is not None:
            self.origin.at(path).blobs[digest] = data
        return data is not None

    async def upload_blob(self, path: str, blob: Descriptor, content: Content) -> int:
        """See `Destination`."""
        await self._written("upload_blob", path, str(blob.digest))
        data = bytearray()
        async with content(0) as parts:
            async for part in parts:
                data += part
        if len(data) != blob.size or Digest.of(data, blob.digest.algorithm) != blob.digest:
            raise VerificationError(str(blob.digest), "the bytes that were to be pushed do not match it")
        self.origin.at(path).blobs[blob.digest] = bytes(data)
        return len(data)

    async def put_manifest(
        self, path: str, manifest: Descriptor, data: bytes, tags: Sequence[str] = ()
    ) -> Stored:
        """See `Destination`; lists no referrers."""
        await self._written("put_manifest", path, ",".join(tags) or str(manifest.digest))
        repository = self.origin.at(path)
        repository.manifests[manifest.digest] = manifest.media_type, data
        repository.tags |= dict.fromkeys(tags, manifest.digest)
        return Stored(manifest.digest)

    async def _written(self, what: str, path: str, detail: str) -> None:
        await trio.lowlevel.checkpoint()
        self.origin.requests.append((what, path, detail))
        if self.origin.failure is not None:
            raise self.origin.failure


class PartBody:
    """What an `OriginBody` that gives parts needs to be read into memory too."""

    _rest = memoryview(b"")

    async def __anext__(self) -> bytes:
        """Give the next part; the heir's."""
        raise StopAsyncIteration

    async def read_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as the parts reach."""
        taken = 0
        while taken < len(view):
            if not self._rest:
                try:
                    self._rest = memoryview(await anext(self))
                except StopAsyncIteration:
                    break
            count = min(len(self._rest), len(view) - taken)
            view[taken : taken + count] = self._rest[:count]
            self._rest = self._rest[count:]
            taken += count
        return taken


class MemoryBody(PartBody):
    """An `OriginBody` of bytes in memory."""

    def __init__(self, origin: MemoryOrigin, media_type: str, data: bytes, offset: int, stop: int) -> None:
        self.size = len(data)
        self.offset = offset
        self.media_type = media_type
        self._origin = origin
        self._data = data
        self._at = offset
        self._stop = stop

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Give the next part."""
        await trio.lowlevel.checkpoint()
        if self._origin.failure is not None:
            raise self._origin.failure
        if self._at >= self._stop:
            raise StopAsyncIteration
        if self._origin.truncate is not None and self._at - self.offset >= self._origin.truncate:
            raise OriginUnreachableError(
                self._origin.name, f"the body ended {self._stop - self._at} bytes short"
            )
        part = self._data[self._at : min(self._at + self._origin.part, self._stop)]
        self._at += len(part)
        self._origin.egress += len(part)
        return part
