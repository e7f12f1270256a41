"""Pull an image into a layout: several blobs at once, resumed where they broke, verified on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from p2p.errors import LocalError, OriginUnreachableError, RemoteError, VerificationError
from p2p.toolkit.image import InterruptedPullError

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Descriptor, Platform
    from p2p.core.oci.digest import Digest
    from p2p.toolkit.api import FetchedManifest, Progress, Source
    from p2p.toolkit.image import ImageName
    from p2p.toolkit.layout import Layout

STREAMS: Final = 3
"""Blobs that are under way at once; each holds some MiB in memory."""
ATTEMPTS: Final = 5
"""How often a blob is asked for without one new byte."""
INTERRUPTIONS: Final = (InterruptedPullError, OriginUnreachableError)
"""Errors after which asking again may help."""
_DEPTH: Final = 3
_BATCH: Final = 1 << 20
"""Bytes hashed and written in one hop to a thread; a hop costs as much as hashing 170 KiB."""


class Sink(Protocol):
    """Takes a blob's bytes in order. ``written`` counts them; methods are called in a thread."""

    written: int

    def write(self, data: bytes | bytearray) -> None:
        """Append; VerificationError where it becomes longer than the blob."""
        ...

    def restart(self) -> None:
        """Forget what was written."""
        ...

    def finish(self) -> None:
        """Keep it if it holds; otherwise restart and raise VerificationError."""
        ...


class HashSink:
    """Hashes a blob and keeps nothing of it."""

    def __init__(self, blob: Descriptor) -> None:
        self._blob = blob
        self.restart()

    def write(self, data: bytes | bytearray) -> None:
        """Hash."""
        self._hash.update(data)
        self.written += len(data)

    def restart(self) -> None:
        """Begin anew."""
        self._hash = hashlib.new(self._blob.digest.algorithm)
        self.written = 0

    def finish(self) -> None:
        """Compare."""
        if self.written != self._blob.size or self._hash.hexdigest() != self._blob.digest.hex:
            raise VerificationError(str(self._blob.digest), "the bytes that came do not match it")


@dataclass(slots=True)
class Received:
    """Bytes that came over the network, whether or not they could be used."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of it: the descriptor that was asked for, and counts of blobs (manifests aside) and bytes."""

    descriptor: Descriptor
    blobs: int
    total: int
    received: int


async def pull_image(
    source: Source,
    image: ImageName,
    layout: Layout,
    platform: Platform | None,
    progress: Progress,
    streams: int = STREAMS,
) -> Pulled:
    """Pull one platform, or with None all of them, and list the image in the layout's index.

    Raises LocalError, RemoteError, VerificationError or RegistryError, of blobs in an ExceptionGroup; what
    came so far stays in the layout for the next time.
    """
    manifests = await collect(
        source, await choose(source, image.identifier, image.text, platform), image.text
    )
    root = manifests[-1]
    unique = blobs_of(manifests)
    received = await _pull_blobs(source, unique, layout, progress, streams)
    # Last, so that a layout never lists an image that it does not hold.
    try:
        for fetched in manifests:
            layout.put(fetched.descriptor.digest, fetched.data)
        layout.add(root.descriptor, image.text)
    except OSError as error:
        raise _disk(layout, error) from error
    return Pulled(root.descriptor, len(unique), sum(blob.size for blob in unique), received)


async def choose(source: Source, reference: str, text: str, platform: Platform | None) -> FetchedManifest:
    """Give what a reference names: with a platform the one image of an index that fits; else as it is.

    RemoteError where none fits; ``text`` is the image's name in errors.
    """
    root = await source.manifest(reference)
    if not root.manifest.is_index or platform is None:
        return root
    chosen = root.manifest.select(platform)
    if chosen is None:
        offered = sorted({str(child.platform) for child in root.manifest.manifests if child.platform})
        raise RemoteError(
            f"image {text}",
            f"it is not made for {platform}",
            f"Choose with --platform one of {', '.join(offered)}" if offered else "Use --all",
        )
    return await source.manifest(str(chosen.digest), chosen)


async def collect(source: Source, root: FetchedManifest, text: str) -> list[FetchedManifest]:
    """Get all manifests under one, each once, every child before its parents: ``root`` is the last."""
    found = {root.descriptor.digest: root}
    level = [root]
    for _ in range(_DEPTH):
        children = [
            child for fetched in level if fetched.manifest.is_index for child in fetched.manifest.manifests
        ]
        level = []
        for child in children:
            if child.digest not in found:
                fetched = await source.manifest(str(child.digest), child)
                found[child.digest] = fetched
                level.append(fetched)
        if not level:
            break
    else:
        raise RemoteError(f"image {text}", f"its indexes are nested deeper than {_DEPTH}")
    ordered: dict[Digest, FetchedManifest] = {}

    def add(fetched: FetchedManifest) -> None:
        for child in fetched.manifest.manifests:
            if child.digest not in ordered:
                add(found[child.digest])
        ordered[fetched.descriptor.digest] = fetched

    add(root)
    return list(ordered.values())


def blobs_of(manifests: Iterable[FetchedManifest]) -> tuple[Descriptor, ...]:
    """Give the configs and layers of images, each once."""
    return tuple(
        {
            child.digest: child
            for fetched in manifests
            if not fetched.manifest.is_index
            for child in fetched.manifest.children
        }.values()
    )


async def _pull_blobs(
    client: Source, blobs: Iterable[Descriptor], layout: Layout, progress: Progress, streams: int
) -> int:
    received = 0
    limit = trio.CapacityLimiter(streams)

    async def one(blob: Descriptor) -> None:
        nonlocal received
        async with limit:
            count = await pull_blob(client, blob, layout, progress)
            received += count

    async with trio.open_nursery() as nursery:
        for blob in blobs:
            nursery.start_soon(one, blob)
    return received


async def pull_blob(client: Source, blob: Descriptor, layout: Layout, progress: Progress) -> int:
    """Get one blob into the layout unless it is there; gives the bytes that came over the network.

    Raises RemoteError after ``ATTEMPTS`` without progress, VerificationError on a second wrong body,
    LocalError where the disk fails.
    """
    if layout.holds(blob.digest, blob.size):
        progress.begin(blob.digest, blob.size, blob.size)
        return 0
    try:
        writer = layout.writer(blob.digest, blob.size)
        try:
            held = await trio.to_thread.run_sync(writer.resume)
            progress.begin(blob.digest, blob.size, held)
            return await fill(client, blob, writer, progress)
        finally:
            writer.close()
    except OSError as error:
        raise _disk(layout, error) from error


async def fill(client: Source, blob: Descriptor, writer: Sink, progress: Progress) -> int:
    """Stream one blob into a sink until it holds; gives the bytes that came over the network.

    Raises RemoteError after ``ATTEMPTS`` without progress, VerificationError on a second wrong body.
    """
    received = Received()
    failures = 0
    wrong = False
    while True:
        before = writer.written
        try:
            if before < blob.size or blob.size == 0:
                await _stream(client, blob, writer, progress, received)
            await trio.to_thread.run_sync(writer.finish)
        except VerificationError:
            # Once may be the fault of what an earlier pull left here; twice is the node's.
            if wrong:
                raise
            wrong = True
            writer.restart()
            progress.advance(blob.digest, 0)
        except INTERRUPTIONS:
            failures = 0 if writer.written > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            await trio.sleep(0.1 * 2**failures)
        else:
            return received.count


async def _stream(
    client: Source, blob: Descriptor, writer: Sink, progress: Progress, received: Received
) -> None:
    batch = bytearray()

    async def flush() -> None:
        nonlocal batch
        full, batch = batch, bytearray()
        await trio.to_thread.run_sync(writer.write, full)
        progress.advance(blob.digest, writer.written)

    async with client.blob(blob.digest, writer.written) as (offset, body):
        if offset != writer.written:
            writer.restart()
        try:
            async for part in body:
                received.count += len(part)
                batch += part
                if len(batch) >= _BATCH:
                    await flush()
        except INTERRUPTIONS:
            await flush()  # what came before the cut counts
            raise
        await flush()
    if writer.written < blob.size:
        raise InterruptedPullError(str(blob.digest), f"ended after {writer.written} of {blob.size} bytes")


def _disk(layout: Layout, error: OSError) -> LocalError:
    return LocalError(
        f"output {layout.root}", f"can't be written: {error.strerror or error}", "Check space and permissions"
    )
