"""Push an image from any source into a registry: a push of a layout, or a copy between registries.

Blobs go several at once, straight from where they are to where they belong, without a stop on disk; what
the registry has is skipped, what another of its repositories has is mounted. Manifests follow, children
first, the tag last: a tag never names an image that is not whole.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.errors import RemoteError
from p2p.toolkit.pulling import STREAMS, blobs_of, choose, collect
from p2p.toolkit.referring import list_by_tag

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from p2p.core.oci.descriptor import Platform
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Reference
    from p2p.origin.api import Content, Destination, Origin
    from p2p.toolkit.api import FetchedManifest, Progress, Source

_DEPTH: Final = 3
"""Referrers of referrers (the signature of an SBOM) that are followed."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an image goes: ``origin`` reads at the same registry that ``destination`` writes to."""

    destination: Destination
    origin: Origin
    reference: Reference


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of a push or copy: the manifest that ``image`` names now, and counts of blobs and bytes.

    ``manifests`` counts all that were put, ``referrers`` those among them that came as referrers.
    ``skipped`` are blobs that the repository had, ``foreign`` layers among them.
    """

    image: str
    descriptor: Descriptor
    manifests: int
    referrers: int
    uploaded: int
    mounted: int
    skipped: int
    uploaded_bytes: int
    mounted_bytes: int
    skipped_bytes: int

    @property
    def digest(self) -> Digest:
        """The manifest's."""
        return self.descriptor.digest


@dataclass(slots=True)
class _Tally:
    """Blobs and bytes, by how they came there."""

    blobs: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def add(self, how: str, size: int) -> None:
        self.blobs[how] = self.blobs.get(how, 0) + 1
        self.bytes[how] = self.bytes.get(how, 0) + size


async def push_image(
    source: Source,
    name: str,
    target: Target,
    progress: Progress,
    *,
    platform: Platform | None = None,
    referrers: bool = False,
    mount_from: str = "",
    streams: int = STREAMS,
) -> Pushed:
    """Push what ``name`` is at the source: of an index one platform, or with None all.

    ``mount_from`` is the source's repository where it is at the same registry. Raises RemoraError, of blobs
    in an ExceptionGroup. What was pushed before an error stays and is skipped the next time.
    """
    text = str(target.reference)
    root = await choose(source, name, text, platform)
    wanted = target.reference.digest
    if wanted is not None and wanted != root.descriptor.digest:
        raise RemoteError(
            f"image {text}", f"what is pushed is {root.descriptor.digest}", "Name a tag, or the right digest"
        )
    manifests = await collect(source, root, text)
    extra = await _referrers(source, manifests, text) if referrers else []
    tally = _Tally()
    path = target.reference.path
    limit = trio.CapacityLimiter(streams)

    async def one(blob: Descriptor) -> None:
        async with limit:
            how = await _push_blob(source, blob, target.destination, path, mount_from, progress)
            tally.add(how, blob.size)

    async with trio.open_nursery() as nursery:
        for blob in blobs_of((*manifests, *extra)):
            nursery.start_soon(one, blob)
    tag = target.reference.tag
    for fetched in (*manifests, *extra):
        tags = (tag,) if fetched is root and tag is not None else ()
        await _put(target, fetched, tags)
    return Pushed(
        text,
        root.descriptor,
        len(manifests) + len(extra),
        len(extra),
        *(tally.blobs.get(how, 0) for how in ("uploaded", "mounted", "skipped")),
        *(tally.bytes.get(how, 0) for how in ("uploaded", "mounted", "skipped")),
    )


async def _referrers(
    source: Source, manifests: Iterable[FetchedManifest], text: str
) -> list[FetchedManifest]:
    """Give the manifests that refer to these, and all that those are made of, each after its subject."""
    known = {fetched.descriptor.digest for fetched in manifests}
    level = list(manifests)
    found: list[FetchedManifest] = []
    for _ in range(_DEPTH):
        fresh: list[FetchedManifest] = []
        for subject in level:
            for listed in await source.referrers(subject.descriptor.digest):
                if listed.digest in known:
                    continue
                top = await source.manifest(str(listed.digest), listed)
                for part in await collect(source, top, text):
                    if part.descriptor.digest not in known:
                        known.add(part.descriptor.digest)
                        fresh.append(part)
        if not fresh:
            break
        found += fresh
        level = fresh
    return found


async def _put(target: Target, fetched: FetchedManifest, tags: tuple[str, ...]) -> None:
    # The descriptor of a listing may carry annotations and a platform; what is put is the manifest alone.
    descriptor = Descriptor(fetched.manifest.media_type, fetched.descriptor.digest, len(fetched.data))
    path = target.reference.path
    stored = await target.destination.put_manifest(path, descriptor, fetched.data, tags)
    subject = fetched.manifest.subject
    if subject is not None and not stored.subject:
        config = fetched.manifest.config
        kind = fetched.manifest.artifact_type or (config.media_type if config is not None else "")
        listed = replace(descriptor, artifact_type=kind, annotations=fetched.manifest.annotations)
        await list_by_tag(target.origin, target.destination, path, subject.digest, listed)


async def _push_blob(
    source: Source,
    blob: Descriptor,
    destination: Destination,
    path: str,
    mount_from: str,
    progress: Progress,
) -> str:
    # Foreign layers are fetched from their urls by clients; registries need not have them.
    if blob.foreign or await destination.has_blob(path, blob.digest):
        progress.begin(blob.digest, blob.size, blob.size)
        return "skipped"
    if mount_from and await destination.mount(path, blob.digest, mount_from):
        progress.begin(blob.digest, blob.size, blob.size)
        return "mounted"
    progress.begin(blob.digest, blob.size, 0)
    await destination.upload_blob(path, blob, content_of(source, blob, progress))
    progress.advance(blob.digest, blob.size)
    return "uploaded"


def content_of(source: Source, blob: Descriptor, progress: Progress) -> Content:
    """Give a source's blob as what a destination takes, telling how far it was read."""

    @asynccontextmanager
    async def opened(offset: int) -> AsyncGenerator[AsyncIterator[bytes]]:
        async with source.blob(blob.digest, offset) as (begins, parts):
            yield _Told(blob, progress, parts, begins, offset)

    return opened


class _Told:
    """A blob's parts from ``offset``, where the source may begin before it."""

    def __init__(
        self, blob: Descriptor, progress: Progress, parts: AsyncIterator[bytes], begins: int, offset: int
    ) -> None:
        self._blob = blob
        self._progress = progress
        self._parts = parts
        self._at = begins
        self._offset = offset

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            # All but the last byte is told as read: the blob is there only when the registry says so.
            if self._at > self._offset:
                self._progress.advance(self._blob.digest, max(0, min(self._at, self._blob.size - 1)))
            part = await anext(self._parts)
            before, self._at = self._at, self._at + len(part)
            wanted = part[max(0, self._offset - before) :]
            if wanted:
                return wanted
