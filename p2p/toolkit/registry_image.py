"""A repository at a registry, asked directly: the `Source` over an `Origin`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import parse_manifest
from p2p.origin.api import Kind
from p2p.toolkit.image import MANIFEST_LIMIT, too_long, verify_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from p2p.core.oci.descriptor import Descriptor
    from p2p.origin.api import Origin
    from p2p.toolkit.api import FetchedManifest


class RegistryImage:
    """One repository at an upstream. ``text`` is the image's name in errors."""

    def __init__(self, origin: Origin, path: str, text: str) -> None:
        self._origin = origin
        self._path = path
        self._text = text

    async def manifest(self, reference: str, expected: Descriptor | None = None) -> FetchedManifest:
        """HEAD a tag, and GET by digest what it names; see `Source`. Raises OriginError."""
        if expected is not None:
            digest = expected.digest
        elif ":" in reference:
            digest = Digest.parse(reference)
        else:
            digest = (await self._origin.head(self._path, reference)).digest
        data = bytearray()
        async with self._origin.open(self._path, digest, Kind.MANIFEST) as body:
            async for part in body:
                data += part
                if len(data) > MANIFEST_LIMIT:
                    raise too_long(self._text)
        return verify_manifest(self._text, bytes(data), body.media_type, str(digest), expected)

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int) -> AsyncGenerator[tuple[int, AsyncIterator[bytes]]]:
        """GET a blob from an offset."""
        async with self._origin.open(self._path, digest, Kind.BLOB, offset=offset) as body:
            yield offset, aiter(body)

    async def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """List the referrers, by the API or by the tag that stands in for it."""
        fetched = await self._origin.referrers(self._path, digest, None)
        return parse_manifest(fetched.data, fetched.media_type).manifests
