"""Manifests, whole and read: what a pull is made of. Prefetch walks images with the same."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import Manifest, parse_manifest
from p2p.core.swarm.chunks import MAX_BLOB
from p2p.metadata.hosting import HOSTED
from p2p.origin.api import Kind
from p2p.registry.spans import closing, read_part
from p2p.transfer.api import Wanted
from p2p.transfer.confined import Unconfined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.api import Metadata
    from p2p.registry.access import Access
    from p2p.registry.api import Proofs
    from p2p.registry.tags import Resolved, TagResolver
    from p2p.transfer.api import Transfer

REMEMBERED: Final = 1024
"""Manifests whose children are known to be linked, so that a warm one is not parsed again."""


READ_AHEAD: Final = 256
"""Blobs of one manifest that are hinted at; Docker builds 127 layers at most, hostile tools more."""


@dataclass(frozen=True, slots=True)
class PulledManifest:
    """A manifest as its bytes and as its descriptor (the media type it is served with, the true size)."""

    descriptor: Descriptor
    data: bytes

    def parse(self) -> Manifest:
        """Read it; it was readable when it was pulled."""
        return parse_manifest(self.data, self.descriptor.media_type)


class Puller:
    """Finds, reads and links manifests.

    ``manifest_bytes`` is the size above which a manifest is refused before it is read.
    """

    def __init__(
        self,
        *,
        transfer: Transfer,
        metadata: Metadata,
        tags: TagResolver,
        access: Access,
        manifest_bytes: int,
        proofs: Proofs | None = None,
        learn: Callable[[Repository, tuple[Kind, str]], Awaitable[object]] | None = None,
    ) -> None:
        """``learn`` finds out whether a repository is private, for those who walk images unasked."""
        self._proofs = Unconfined() if proofs is None else proofs
        self._learn = learn
        self._transfer = transfer
        self._metadata = metadata
        self._tags = tags
        self._access = access
        self._limit = manifest_bytes
        self._known: OrderedDict[tuple[Repository, Digest], tuple[str, tuple[Wanted, ...]]] = OrderedDict()

    async def resolve(self, repository: Repository, tag: str) -> Resolved:
        """Give the manifest that a tag points to; see ``TagResolver``."""
        resolved = await self._tags.resolve(repository, tag)
        if not self._proofs.reaches(repository, resolved.target.digest):
            # A peer's word, or an old one, does for a tag; not for what another repository keeps to itself.
            await self._access.prove(repository, resolved.target.digest, Kind.MANIFEST)
        return resolved

    async def learn(self, repository: Repository, reference: str) -> None:
        """Find out whether a repository is private, before this node itself asks for anything of it."""
        if self._learn is not None:
            await self._learn(repository, (Kind.MANIFEST, reference))

    async def prove(self, repository: Repository, digest: Digest, kind: Kind) -> Descriptor:
        """Give what is known of a digest that the repository reaches; see ``Access``."""
        return await self._access.prove(repository, digest, kind)

    async def manifest(self, repository: Repository, target: Descriptor) -> PulledManifest:
        """Read a manifest that the repository was proven to reach, and link what it is made of.

        The children of an image are announced as wanted soon; those of an index are not, as a client
        takes one platform of many. Raises RegistryError (status 413 above the limit, 502 for what can't
        be read), OriginError, PeerError, StoreError or VerificationError.
        """
        self.admit(repository, target.digest, target.size)
        wanted = Wanted(repository, target.digest, Kind.MANIFEST, target.size)
        async with self._transfer.open(wanted) as stream:
            self.admit(repository, target.digest, stream.size)
            data = bytearray()
            async with closing(stream.spans(0, stream.size)) as spans:
                async for span in spans:
                    data += read_part(span)
        return await self._taken(repository, target, bytes(data))

    def admit(self, repository: Repository, digest: Digest, size: int) -> None:
        """Refuse a manifest above the limit: RegistryError MANIFEST_INVALID with status 413."""
        if size > self._limit:
            raise RegistryError(
                "MANIFEST_INVALID",
                f"the manifest {repository}@{digest} has {size} bytes, above the limit of {self._limit}",
                {"size": size, "limit": self._limit},
                status=413,
                mend="Raise registry.manifest_bytes if it is meant to be that large",
            )

    async def _taken(self, repository: Repository, target: Descriptor, data: bytes) -> PulledManifest:
        key = repository, target.digest
        known = self._known.get(key)
        if known is None:
            try:
                manifest = _read_strictly(data, target.media_type)
            except RegistryError as error:
                # Not the client's mistake, as the code's own status would tell it.
                raise RegistryError(
                    error.code,
                    f"{repository}@{target.digest}: {error.message}",
                    error.detail,
                    status=502,
                    mend=error.mend,
                ) from error
            kept = Descriptor(media_type=manifest.media_type, digest=target.digest, size=len(data))
            if repository.registry != HOSTED:
                # What a hosted repository reaches is what was pushed to it, and a delete takes it away.
                await self._metadata.link(repository, (kept, *manifest.children))
            known = manifest.media_type, _ahead(repository, manifest)
            self._known[key] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        media_type, ahead = known
        self._transfer.read_ahead(ahead)
        return PulledManifest(Descriptor(media_type=media_type, digest=target.digest, size=len(data)), data)


def _read_strictly(data: bytes, media_type: str) -> Manifest:
    manifest = parse_manifest(data, media_type)
    for child in manifest.children:
        if child.size > MAX_BLOB:
            raise RegistryError.manifest_invalid(f"claims {child.size} bytes for {child.digest}")
    return manifest


def _ahead(repository: Repository, manifest: Manifest) -> tuple[Wanted, ...]:
    if manifest.is_index:
        return ()
    # Foreign layers (with urls) are seldom at the registry: wait until a client truly asks.
    usual = (child for child in manifest.children if not child.urls)
    return tuple(
        Wanted(repository, child.digest, Kind.BLOB, child.size) for child in islice(usual, READ_AHEAD)
    )
