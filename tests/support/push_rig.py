"""The writing front end over a real store in memory and metadata in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import trio

from p2p.config import HostingSettings, RegistrySettings, StoreSettings, TagSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.errors import VerificationError
from p2p.metadata.api import Metadata
from p2p.metadata.hosting import HOSTED, Hosting
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.net.errors import BodyLostError, BodyTooLargeError
from p2p.net.message import Request, Response
from p2p.notifications.api import What
from p2p.origin import memory
from p2p.registry.app import Registry
from p2p.registry.hosted import Hosted
from p2p.registry.hosting import HostedRepositories
from p2p.registry.shared_origin import SharedOrigin
from p2p.registry.sharing import Sharing
from p2p.registry.through import PushThrough
from p2p.store.memory import MemoryStore
from p2p.transfer.streams import StoredStream
from tests.support.registry_rig import (
    CONFIG,
    LAYER,
    UPSTREAMS,
    MemoryOrigin,
    MemoryOrigins,
    MemoryReferences,
    MemoryStream,
    MemoryTransfer,
    header,
    read,
)
from tests.support.store_rig import HASHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.content.api import SharedContent
    from p2p.core.wire.common import Holding
    from p2p.notifications.api import Happening
    from p2p.registry.auth.guard import Guard
    from p2p.store.content import ContentStore
    from p2p.transfer.api import Wanted
    from p2p.transfer.confined import Confined

APP = Repository(HOSTED, "team/app")
NAME = "team/app"
EMPTY = b"{}"


class Bytes:
    """A request's body: these parts; then it breaks off where ``broken``, or waits for ``gate`` first."""

    def __init__(self, *parts: bytes, broken: bool = False, gate: trio.Event | None = None) -> None:
        self._parts = iter(parts)
        self._broken = broken
        self._gate = gate

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        for part in self._parts:
            return part
        if self._gate is not None:
            await self._gate.wait()
        if self._broken:
            raise BodyLostError("request body", "the client left")
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        data = b""
        async for part in self:
            data += part
            if len(data) > limit:
                raise BodyTooLargeError(limit)
        return data


class Records(Metadata, Hosting, Protocol):
    """All that a node keeps of repositories."""


class StoreTransfer(MemoryTransfer):
    """Complete blobs come from a real store; all else as in the twin.

    What is hosted and not here comes from ``shared``, as the engine would get it, and is not kept.
    """

    def __init__(
        self, origins: MemoryOrigins, store: ContentStore, shared: SharedOrigin | None = None
    ) -> None:
        super().__init__(origins)
        self._store = store
        self._shared = shared

    @asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Any]:
        stored = self._store.find(wanted.digest)
        if stored is None and self._shared is not None and wanted.repository.registry == HOSTED:
            async with self._shared.open(wanted.repository.path, wanted.digest, wanted.kind) as body:
                data = b"".join([part async for part in body])
            if Digest.of(data, wanted.digest.algorithm) != wanted.digest:
                raise VerificationError(str(wanted.digest), "the shared content has other bytes")
            stream = MemoryStream(self, wanted.digest, data)
            try:
                yield stream
            finally:
                stream.close()
        elif stored is None:
            async with super().open(wanted) as stream:
                yield stream
        else:
            with self._store.open(wanted.digest) as fd:
                yield StoredStream(wanted.digest, stored.size, fd)


class Ears:
    """A notifier that remembers."""

    def __init__(self) -> None:
        self.heard: list[Happening] = []
        self.pulls: list[Happening] = []

    async def tell(self, happenings: Sequence[Happening]) -> None:
        for one in happenings:
            (self.pulls if one.what is What.PULL else self.heard).append(one)


@dataclass
class Push:
    """A node's front end that hosts ``team/**``; every answer as the server would get it.

    ``content``: shared with other front ends.
    """

    settings: HostingSettings = field(default_factory=lambda: HostingSettings(repositories=("team/**",)))
    registry_settings: RegistrySettings = field(
        default_factory=lambda: RegistrySettings(default_upstream="test")
    )
    hosting: Records = field(default_factory=MemoryHosting)
    proofs: Confined | None = None
    store: ContentStore = field(default_factory=lambda: MemoryStore(StoreSettings(), hasher=HASHER))
    guard: Guard | None = None
    content: SharedContent | None = None

    def __post_init__(self) -> None:
        self.origin = MemoryOrigin("test")
        origins = MemoryOrigins(self.origin)
        self.upstream = memory.MemoryDestination(memory.MemoryOrigin("ghcr.io"))
        self.ears = Ears()
        self.announced: list[Holding] = []
        self.sharing: Sharing | None = None
        shared: SharedOrigin | None = None
        if self.content is not None:
            grace = self.settings.unreferenced_grace
            self.sharing = Sharing(self.content, records=self.hosting, store=self.store, grace=grace)
            shared = SharedOrigin(self.content, self.hosting)
        self.hosted = HostedRepositories(
            settings=self.settings,
            manifest_bytes=self.registry_settings.manifest_bytes,
            hosting=self.hosting,
            uploads=self.store.uploads,
            content=self.store,
            announce=self.announced.append,
            notifier=self.ears,
            guard=self.guard,
            sharing=self.sharing,
            through=PushThrough(
                store=self.store,
                metadata=self.hosting,
                destination=lambda name: {"ghcr.io": self.upstream}[name],
                announce=self.announced.append,
                proofs=self.proofs,
            ),
        )
        self.transfer = StoreTransfer(origins, self.store, shared)
        self.registry = Registry(
            settings=self.registry_settings,
            tags=TagSettings(),
            upstreams=UPSTREAMS,
            transfer=self.transfer,
            store=self.store,
            metadata=self.hosting,
            origins=origins,
            references=MemoryReferences(),
            hosted=Hosted(),
            hosting=self.hosted,
            guard=self.guard,
        )

    async def __call__(
        self, method: str, path: str, query: str = "", body: Bytes | bytes = b"", **headers: str
    ) -> Response:
        pairs = tuple((k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items())
        sent = body if isinstance(body, Bytes) else Bytes(body)
        return await self.registry.handle(Request(method, path, query, pairs, sent, peer="127.0.0.1:9"))

    async def begin(self, name: str = NAME, query: str = "") -> str:
        """Begin an upload; gives its location."""
        response = await self("POST", f"/v2/{name}/blobs/uploads/", query)
        assert response.status == 202, response
        return header(response, "location") or ""

    async def blob(self, data: bytes, name: str = NAME) -> Digest:
        """Push a blob with one request."""
        digest = Digest.of(data)
        response = await self("POST", f"/v2/{name}/blobs/uploads/", f"digest={digest}", data)
        assert response.status == 201, response
        return digest

    async def manifest(
        self, document: dict[str, Any], reference: str, name: str = NAME, query: str = ""
    ) -> Response:
        """Push a manifest."""
        media_type = document["mediaType"]
        data = json.dumps(document).encode()
        return await self("PUT", f"/v2/{name}/manifests/{reference}", query, data, content_type=media_type)

    async def image(
        self, reference: str = "1", layers: Iterable[bytes] = (b"layer",), name: str = NAME, **more: Any
    ) -> Digest:
        """Push an image with all that it needs."""
        document = await self.document(layers, name, **more)
        response = await self.manifest(document, reference, name)
        assert response.status == 201, response.body
        return Digest.parse(header(response, "docker-content-digest") or "")

    async def document(self, layers: Iterable[bytes], name: str = NAME, **more: Any) -> dict[str, Any]:
        """Push the blobs of an image, and give its manifest."""
        config = more.pop("config_data", EMPTY)
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(CONFIG, await self.blob(config, name), config),
            "layers": [descriptor(LAYER, await self.blob(data, name), data) for data in layers],
            **more,
        }

    async def pull(self, path: str, **headers: str) -> tuple[int, bytes]:
        """GET; status and body."""
        response = await self("GET", path, **headers)
        return response.status, await read(response)

    async def later(self, seconds: float) -> list[Digest]:
        """Collect as if so much time had passed; gives what went."""
        return await self.hosted.intake.collect(datetime.now(UTC) + timedelta(seconds=seconds))


def descriptor(media_type: str, digest: Digest, data: bytes) -> dict[str, Any]:
    """A descriptor as JSON."""
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def index(*children: tuple[Digest, bytes], **more: Any) -> dict[str, Any]:
    """An index over manifests, each with its bytes."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_MANIFEST, digest, data) for digest, data in children],
        **more,
    }


def sha512(data: bytes) -> Digest:
    """The digest of the other algorithm."""
    return Digest("sha512", hashlib.sha512(data).hexdigest())
