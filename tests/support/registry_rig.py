"""The front end over in-memory twins: a transfer of bytes, a scripted origin, references in a dictionary."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio

from p2p.config import (
    HostingSettings,
    PrivateSettings,
    RegistrySettings,
    StoreSettings,
    TagSettings,
    UpstreamSettings,
)
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.errors import OriginNotFoundError, OriginUnreachableError
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.net.message import Content, FileSpan, Request, Response, Spans
from p2p.origin.api import Fetched, Kind
from p2p.origin.readable import Readable
from p2p.registry.app import Registry
from p2p.registry.hosted import Hosted
from p2p.registry.hosting import HostedRepositories
from p2p.registry.proof import Privacy
from p2p.registry.visibility import Visibility
from p2p.store.api import StoredBlob
from p2p.store.memory import MemoryStore
from p2p.store.verify import LinkHasher
from p2p.transfer.api import Sources, TransferStatistics, Wanted
from p2p.transfer.confined import Confined

if TYPE_CHECKING:
    from p2p.discovery.api import KnownReference
    from p2p.origin.credentials import Credential
    from p2p.registry.auth.guard import Guard

APP = Repository("test", "app")

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

UPSTREAMS = {
    "docker.io": UpstreamSettings(
        url="https://registry-1.docker.io", aliases=("index.docker.io",), library_prefix=True
    ),
    "ghcr.io": UpstreamSettings(url="https://ghcr.io"),
    "test": UpstreamSettings(url="http://127.0.0.1:5010"),
}


class MemoryOrigin:
    """An upstream registry in dictionaries. ``error`` is what every call raises; ``gate`` holds HEADs."""

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.blobs: dict[tuple[str, Digest], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.calls: Counter[str] = Counter()
        self.error: Exception | None = None
        self.gate: trio.Event | None = None
        self.tag_page = Fetched("application/json", b'{"name":"x","tags":[]}')
        self.referrers_index = Fetched(OCI_INDEX, b'{"schemaVersion":2,"manifests":[]}')
        self.tag_asked: list[tuple[str, int | None, str | None]] = []
        self.credentials = False
        self.readers: dict[str, dict[str, str]] = {}
        """Users and passwords of private repositories, by path."""
        self.dark = False
        """Nobody can be asked who may read."""
        self.asked: list[tuple[str, str, str]] = []
        """Who might read: path, digest or tag, user."""

    async def holds_credentials(self) -> bool:
        return self.credentials

    async def readable(
        self, path: str, wanted: tuple[Kind, str] | None, credential: Credential | None
    ) -> Readable:
        await trio.lowlevel.checkpoint()
        user = "" if credential is None else credential.username
        self.asked.append((path, "" if wanted is None else wanted[1], user))
        if self.dark:
            return Readable.UNKNOWN
        if path in self.readers:
            right = credential is not None and self.readers[path].get(user) == credential.password
            return Readable.YES if right else Readable.NO
        here = (*self.manifests, *self.blobs)
        return Readable.YES if any(one == path for one, _ in here) else Readable.ABSENT

    def put_blob(self, path: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[path, digest] = data
        return digest

    def put_manifest(self, path: str, data: bytes, media_type: str, tag: str | None = None) -> Digest:
        digest = Digest.of(data)
        self.manifests[path, str(digest)] = (media_type, data)
        if tag is not None:
            self.manifests[path, tag] = (media_type, data)
        return digest

    def put_image(
        self, path: str, tag: str | None, layers: Iterable[bytes] = (b"layer",), **more: Any
    ) -> Digest:
        config = self.put_blob(path, b"{}" + repr(more).encode())
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG, "digest": str(config), "size": len(self.blobs[path, config])},
            "layers": [
                {"mediaType": LAYER, "digest": str(self.put_blob(path, data)), "size": len(data)}
                for data in layers
            ],
        }
        document["layers"] += more.pop("foreign", [])
        document |= more
        return self.put_manifest(path, json.dumps(document).encode(), OCI_MANIFEST, tag)

    def put_index(self, path: str, tag: str | None, children: Iterable[Digest]) -> Digest:
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": self.manifests[path, str(child)][0],
                    "digest": str(child),
                    "size": len(self.manifests[path, str(child)][1]),
                }
                for child in children
            ],
        }
        return self.put_manifest(path, json.dumps(document).encode(), OCI_INDEX, tag)

    async def _call(self, name: str) -> None:
        self.calls[name] += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def head(self, path: str, reference: str) -> Descriptor:
        await self._call("head")
        if (path, reference) not in self.manifests:
            raise OriginNotFoundError(self.name, f"it has no manifest {reference} in {path}")
        media_type, data = self.manifests[path, reference]
        return Descriptor(media_type, Digest.of(data), len(data))

    async def head_blob(self, path: str, digest: Digest) -> Descriptor:
        await self._call("head_blob")
        if (path, digest) not in self.blobs:
            raise OriginNotFoundError(self.name, f"it has no blob {digest} in {path}")
        return Descriptor("application/octet-stream", digest, len(self.blobs[path, digest]))

    async def tags(self, path: str, n: int | None, last: str | None) -> Fetched:
        await self._call("tags")
        self.tag_asked.append((path, n, last))
        return self.tag_page

    async def referrers(self, path: str, digest: Digest, artifact_type: str | None) -> Fetched:
        await self._call("referrers")
        return self.referrers_index

    def body(self, wanted: Wanted) -> bytes | None:
        path = wanted.repository.path
        if wanted.kind is Kind.BLOB:
            return self.blobs.get((path, wanted.digest))
        found = self.manifests.get((path, str(wanted.digest)))
        return None if found is None else found[1]


class MemoryOrigins:
    """Lookup by name."""

    def __init__(self, *origins: MemoryOrigin) -> None:
        self._origins = {origin.name: origin for origin in origins}

    def find(self, name: str) -> MemoryOrigin:
        return self._origins[name]


class MemoryStream:
    def __init__(self, transfer: MemoryTransfer, digest: Digest, data: bytes) -> None:
        self.digest = digest
        self.size = len(data)
        self._transfer = transfer
        self._data = data
        self._fd = os.memfd_create("blob")
        os.write(self._fd, data)

    async def spans(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        step = self._transfer.step
        for offset in range(start, stop, step):
            await trio.lowlevel.checkpoint()
            if offset >= self._transfer.break_at:
                raise self._transfer.failure
            if self._transfer.gate is not None:
                await self._transfer.gate.wait()
            self._transfer.spans_given += 1
            yield FileSpan(self._fd, offset, min(step, stop - offset))

    def close(self) -> None:
        os.close(self._fd)


class MemoryTransfer:
    """A transfer whose swarms are dictionaries: the store's, what peers have, the origin's.

    ``failure`` is raised on opening (``fail_open``) and by spans from byte ``break_at`` on; ``gate``
    holds spans back; ``step`` is a span's length.
    """

    def __init__(self, origins: MemoryOrigins) -> None:
        self._origins = origins
        self.complete: dict[Digest, bytes] = {}
        self.peers: dict[Digest, bytes] = {}
        self.failure: Exception = OriginUnreachableError("test", "no connection")
        self.fail_open = False
        self.break_at: float = float("inf")
        self.step = 1 << 20
        self.gate: trio.Event | None = None
        self.opened: list[Wanted] = []
        self.ahead: list[Wanted] = []
        self.fetched: list[Wanted] = []
        self.fetch_gate: trio.Event | None = None
        self.broken: dict[Digest, Exception] = {}
        self.readers = 0
        self.spans_given = 0
        self.lazy = False
        self.small: list[tuple[tuple[int, int], ...]] = []

    def find(self, digest: Digest) -> StoredBlob | None:
        """The one method of ``Store`` that the front end calls."""
        data = self.complete.get(digest)
        return None if data is None else StoredBlob(digest, len(data))

    @asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[MemoryStream]:
        self.opened.append(wanted)
        await trio.lowlevel.checkpoint()
        data = self.complete.get(wanted.digest) or self.peers.get(wanted.digest)
        if data is None and wanted.digest not in self.complete:
            if self.fail_open:
                raise self.failure
            data = self._origins.find(wanted.repository.registry).body(wanted)
        if data is None and wanted.digest not in self.complete:
            raise OriginNotFoundError(wanted.repository.registry, f"it has no {wanted.digest}")
        stream = MemoryStream(self, wanted.digest, data or b"")
        self.readers += 1
        try:
            yield stream
        finally:
            self.readers -= 1
            stream.close()

    async def fetch(self, wanted: Wanted, sources: Sources) -> None:
        """Get a blob into ``complete``; ``fetch_gate`` holds it back, ``broken`` blobs raise."""
        self.fetched.append(wanted)
        await trio.lowlevel.checkpoint()
        if wanted.digest in self.complete:
            sources.cache += len(self.complete[wanted.digest])
            return
        if self.fetch_gate is not None:
            await self.fetch_gate.wait()
        if wanted.digest in self.broken:
            raise self.broken[wanted.digest]
        data = self.peers.get(wanted.digest)
        if data is not None:
            sources.peers += len(data)
        else:
            data = self._origins.find(wanted.repository.registry).body(wanted)
            if data is None:
                raise OriginNotFoundError(wanted.repository.registry, f"it has no {wanted.digest}")
            sources.origin += len(data)
        self.complete[wanted.digest] = data

    async def ranges(self, wanted: Wanted, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes] | None:
        """As the origin has them, where ``lazy`` is set."""
        await trio.lowlevel.checkpoint()
        data = self._origins.find(wanted.repository.registry).body(wanted)
        if not self.lazy or data is None:
            return None
        self.small.append(tuple(ranges))
        return [data[start:stop] for start, stop in ranges]

    def read_ahead(self, wanted: tuple[Wanted, ...]) -> None:
        self.ahead.extend(wanted)

    def statistics(self) -> TransferStatistics:
        return TransferStatistics()


class MemoryReferences:
    """What the cluster knows of tags."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], KnownReference] = {}
        self.fresh: dict[tuple[str, str], KnownReference] = {}
        """What another node was told by the origin just now."""
        self.told: list[tuple[str, str, KnownReference]] = []
        self.failed: list[tuple[str, str]] = []
        self.turns: list[tuple[str, str, float]] = []
        self.asked = 0

    def seen(self, repository: str, reference: str, known: KnownReference) -> None:
        self.told.append((repository, reference, known))

    def unseen(self, repository: str, reference: str) -> None:
        self.failed.append((repository, reference))

    async def ask_first(self, repository: str, reference: str, max_age: float) -> KnownReference | None:
        self.turns.append((repository, reference, max_age))
        await trio.lowlevel.checkpoint()
        return self.fresh.get((repository, reference))

    async def find_reference(self, repository: str, reference: str) -> KnownReference | None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        return self.known.get((repository, reference))


class NoBody:
    async def __aiter__(self) -> AsyncIterator[bytes]:
        return
        yield b""

    async def read(self, limit: int) -> bytes:
        return b""


@dataclass
class Clock:
    now: datetime = datetime(2026, 2, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def request(method: str, path: str, query: str = "", **headers: str) -> Request:
    pairs = tuple(
        (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()
    )
    return Request(method, path, query, pairs, NoBody())


async def read(response: Response) -> bytes:
    """Take a body as the server does: whole, closed in every case, of the promised length."""
    body = response.body
    if isinstance(body, Content):
        return body.data
    assert isinstance(body, Spans)
    data = bytearray()
    parts = body.parts()
    try:
        async for part in parts:
            data += part if isinstance(part, bytes) else os.pread(part.fd, part.length, part.offset)
    finally:
        await parts.aclose()  # type: ignore[attr-defined]
        if body.close is not None:
            body.close()
    assert len(data) == body.length
    return bytes(data)


def header(response: Response, name: str) -> str | None:
    for key, value in response.headers:
        if key.lower() == name.lower().encode():
            return value.decode()
    return None


def errors(response: Response) -> list[dict[str, Any]]:
    assert isinstance(response.body, Content)
    return json.loads(response.body.data)["errors"]


@dataclass
class Rig:
    """A registry and everything around it."""

    settings: RegistrySettings = field(default_factory=lambda: RegistrySettings(default_upstream="test"))
    tags: TagSettings = field(default_factory=TagSettings)
    hosted: Hosted = field(default_factory=Hosted)
    private: PrivateSettings | None = None
    """None: nothing is asked about visibility."""
    guard: Guard | None = None
    clock: Clock = field(default_factory=lambda: Clock())

    def __post_init__(self) -> None:
        self.origin = MemoryOrigin("test")
        self.hub = MemoryOrigin("docker.io")
        self.ghcr = MemoryOrigin("ghcr.io")
        self.origins = MemoryOrigins(self.origin, self.hub, self.ghcr)
        self.transfer = MemoryTransfer(self.origins)
        self.metadata = MemoryHosting()
        self.hosting = HostedRepositories(
            settings=HostingSettings(),
            manifest_bytes=self.settings.manifest_bytes,
            hosting=self.metadata,
            uploads=MemoryStore(StoreSettings(), hasher=LinkHasher.load()).uploads,
            content=MemoryStore(StoreSettings(), hasher=LinkHasher.load()),
            announce=lambda _: None,
        )
        self.references = MemoryReferences()
        self.moved: list[Digest] = []
        self.visibility = Visibility(
            records=self.metadata,
            gate=self.origins.find,
            max_age=300.0 if self.private is None else self.private.max_age,
            now=self.clock,
        )
        self.confined = Confined(
            self.metadata,
            private=self.visibility.is_private,
            held=self.transfer.complete.__contains__,
            changed=self.moved.append,
        )
        self.visibility.turned = lambda repository, private: self.confined.turned(repository, private=private)
        privacy = None
        if self.private is not None:
            privacy = Privacy(
                settings=self.private,
                visibility=self.visibility,
                proofs=self.confined,
                gate=self.origins.find,
                likely=lambda: self.origin.credentials,
            )
        self.registry = Registry(
            settings=self.settings,
            tags=self.tags,
            upstreams=UPSTREAMS,
            transfer=self.transfer,
            store=self.transfer,  # type: ignore[arg-type]
            metadata=self.metadata,
            origins=self.origins,
            references=self.references,
            hosted=self.hosted,
            hosting=self.hosting,
            guard=self.guard,
            privacy=privacy,
        )

    async def __call__(self, method: str, path: str, query: str = "", **headers: str) -> Response:
        return await self.registry.handle(request(method, path, query, **headers))

    async def get(self, path: str, query: str = "", **headers: str) -> Response:
        return await self("GET", path, query, **headers)

    async def head(self, path: str, query: str = "", **headers: str) -> Response:
        return await self("HEAD", path, query, **headers)

    async def age_tag(self, tag: str, seconds: float) -> None:
        """Make a tag of the repository ``test/app`` look as if confirmed so long ago."""
        row = await self.metadata.tag(APP, tag)
        assert row is not None
        await self.metadata.put_tag(
            APP, tag, replace(row, confirmed_at=row.confirmed_at - timedelta(seconds=seconds))
        )


async def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """Run ``count`` calls at the same time; gives their results."""
    results: list[Any] = []

    async def one() -> None:
        results.append(await work())

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return results
