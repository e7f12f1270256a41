"""Hosted repositories: OCI layout directories whose images this node serves as their origin.

Every blob is copied into the store and hashed on the way; only when a whole layout is in, its tags
appear. What an earlier start hosted and this one does not is no longer offered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import MANIFEST_TYPES, parse_manifest
from p2p.core.oci.reference import Repository
from p2p.core.swarm.chunks import MIB, Layout
from p2p.errors import ConfigError, LocalError, VerificationError
from p2p.metadata.api import TagRow
from p2p.registry.layout import parse_layout
from p2p.registry.upstreams import LAYOUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO
    from pathlib import Path

    from p2p.core.oci.manifest import Manifest
    from p2p.metadata.api import Metadata
    from p2p.registry.layout import LayoutEntry
    from p2p.store.api import Partial, Store

Pin = Callable[[Digest], Awaitable[None]]
"""Keeps a digest from eviction, whether or not it is here yet."""

log = structlog.get_logger(__name__)

SMALL_FILE: Final = 4 * MIB
"""Bytes above which ``oci-layout``, ``index.json`` or a manifest is refused."""
BUFFER: Final = 16 * MIB
"""Bytes read, hashed and written at once; a multiple of every chunk size."""
_PAGE: Final = 1000


@dataclass(slots=True)
class Hosted:
    """What is hosted. ``names`` are the repositories' paths, ``blobs`` all digests (to be kept)."""

    names: set[str] = field(default_factory=set)
    blobs: dict[Digest, int] = field(default_factory=dict)
    _referrers: dict[tuple[Repository, Digest], list[Descriptor]] = field(default_factory=dict)

    def referrers(self, repository: Repository, digest: Digest) -> Sequence[Descriptor]:
        """Give the manifests whose subject the digest is, in the layout's order."""
        return self._referrers.get((repository, digest), ())

    def add_referrer(self, repository: Repository, referrer: Descriptor, manifest: Manifest) -> None:
        """Note a manifest's subject, if it has one."""
        if manifest.subject is None:
            return
        artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else "")
        listed = self._referrers.setdefault((repository, manifest.subject.digest), [])
        if all(each.digest != referrer.digest for each in listed):
            listed.append(
                Descriptor(
                    media_type=manifest.media_type,
                    digest=referrer.digest,
                    size=referrer.size,
                    annotations=manifest.annotations,
                    artifact_type=artifact_type,
                )
            )


async def host_layouts(
    directories: Sequence[Path], *, store: Store, metadata: Metadata, pin: Callable[[Digest], Awaitable[None]]
) -> Hosted:
    """Copy layouts into the store and put their tags into metadata. The files must not change meanwhile.

    Each digest is pinned before it comes in.

    Raises ConfigError for a directory that is no layout, LocalError for a file that is missing or does
    not have the bytes its name promises, StoreError. Tags appear only after all directories are in.
    """
    hosted = Hosted()
    tagged: list[tuple[Repository, LayoutEntry]] = []
    for directory in directories:
        tagged += await _Ingest(directory, store, metadata, hosted, pin).run()
    hosted.names.update(repository.path for repository, _ in tagged)
    await _withdraw(metadata, {(repository, entry.tag) for repository, entry in tagged})
    for repository, entry in tagged:
        if entry.tag is not None:
            row = TagRow(entry.top.digest, entry.top.media_type, entry.top.size, datetime.now(UTC))
            await metadata.put_tag(repository, entry.tag, row)
    return hosted


async def _withdraw(metadata: Metadata, kept: AbstractSet[tuple[Repository, str | None]]) -> None:
    """Remove the tags of earlier starts."""
    path = ""
    while paths := await metadata.repositories(LAYOUT, 1, path):
        path = paths[0]
        repository = Repository(LAYOUT, path)
        tag = ""
        while tags := await metadata.tags(repository, _PAGE, tag):
            tag = tags[-1]
            for each in tags:
                if (repository, each) not in kept:
                    await metadata.remove_tag(repository, each)


class _Ingest:
    """One directory on its way into the store."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        metadata: Metadata,
        hosted: Hosted,
        pin: Callable[[Digest], Awaitable[None]],
    ) -> None:
        self._pin = pin
        self._directory = directory
        self._store = store
        self._metadata = metadata
        self._hosted = hosted

    async def run(self) -> list[tuple[Repository, LayoutEntry]]:
        name = str(await trio.Path(self._directory).absolute())
        marker, index = [await self._small(self._directory / file) for file in ("oci-layout", "index.json")]
        entries = parse_layout(name, marker, index)
        tagged = []
        for entry in entries:
            repository = Repository(LAYOUT, entry.path)
            links = await self._image(repository, entry.top)
            await self._metadata.link(repository, links)
            tagged.append((repository, entry))
        log.info("layout hosted", directory=name, images=len(tagged), blobs=len(self._hosted.blobs))
        return tagged

    async def _image(self, repository: Repository, top: Descriptor) -> list[Descriptor]:
        """Take in all that is reachable; gives what is there."""
        found: dict[Digest, Descriptor] = {}
        left = deque([(top, False)])
        while left:
            descriptor, optional = left.popleft()
            if descriptor.digest in found:
                continue
            path = self._path(descriptor.digest)
            if optional and not await trio.Path(path).exists():
                log.warning("layout lacks content", file=str(path), repository=repository.path)
                continue
            found[descriptor.digest] = descriptor
            if descriptor.media_type in MANIFEST_TYPES:
                manifest = await self._manifest(path, descriptor)
                self._hosted.add_referrer(repository, descriptor, manifest)
                # An index may be sparse; foreign layers are the business of who named their urls.
                left.extend((each, manifest.is_index or bool(each.urls)) for each in manifest.children)
            await self._blob(path, descriptor)
        return list(found.values())

    def _path(self, digest: Digest) -> Path:
        return self._directory / "blobs" / digest.algorithm / digest.hex

    async def _small(self, path: Path) -> bytes:
        try:
            if (await trio.Path(path).stat()).st_size > SMALL_FILE:
                raise ConfigError(
                    str(path), f"it is larger than {SMALL_FILE} bytes", "Is this the right file?"
                )
            return await trio.Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(
                str(path), error.strerror or str(error), "Name a readable directory in OCI layout"
            ) from error

    async def _manifest(self, path: Path, descriptor: Descriptor) -> Manifest:
        data = await self._small(path)
        if Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
            raise _changed(path)
        try:
            return parse_manifest(data, descriptor.media_type)
        except RegistryError as error:
            raise ConfigError(str(path), error.message, error.mend) from error

    async def _blob(self, path: Path, descriptor: Descriptor) -> None:
        digest = descriptor.digest
        self._hosted.blobs[digest] = descriptor.size
        await self._pin(digest)
        if self._store.find(digest) is not None:
            return
        try:
            file = await trio.open_file(path, "rb", buffering=0)
        except OSError as error:
            raise LocalError(
                str(path),
                error.strerror or str(error),
                "Copy the image into the layout again: nothing is served",
            ) from error
        async with file:
            size = (await trio.Path(path).stat()).st_size
            if size != descriptor.size:
                raise LocalError(
                    str(path),
                    f"it has {size} bytes and its descriptor says {descriptor.size}",
                    "Copy the image into the layout again: nothing is served",
                )
            await self._copy(path, file.wrapped, digest, size)

    async def _copy(self, path: Path, file: FileIO, digest: Digest, size: int) -> None:
        try:
            partial = await self._store.open_partial(digest, size)
        except VerificationError:
            # Somebody began it with a false size, which is forgotten now.
            partial = await self._store.open_partial(digest, size)
        if partial.midstates.length or partial.have.count:
            # Left by a start that was stopped midway: simpler to hash it anew than to trust and mend it.
            await partial.discard()
            partial = await self._store.open_partial(digest, size)
        try:
            if not await _append_all(file, partial):
                await partial.discard()
                raise _changed(path)
            await partial.commit()
        finally:
            with trio.CancelScope(shield=True):
                await partial.close()


async def _append_all(file: FileIO, partial: Partial) -> bool:
    layout: Layout = partial.layout
    step = BUFFER // layout.chunk
    buffer = memoryview(bytearray(min(BUFFER, max(layout.size, 1))))
    for first in range(0, layout.count, step):
        wanted = buffer[: layout.length(first, min(step, layout.count - first))]
        if not await trio.to_thread.run_sync(_read_into, file, wanted):
            return False
        if not await partial.append(first, wanted):
            return False
    return True


def _read_into(file: FileIO, wanted: memoryview) -> bool:
    filled = 0
    while filled < len(wanted):
        got = file.readinto(wanted[filled:])
        if not got:
            return False
        filled += got
    return True


def _changed(path: Path) -> LocalError:
    return LocalError(
        str(path),
        "its bytes are not those that its name promises",
        "Copy the image into the layout again: nothing is served",
    )
