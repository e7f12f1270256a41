"""One image at a node's /v2/: what a client asks, with errors that a person can act on."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from p2p.cli.admin import told
from p2p.core.oci.descriptor import Descriptor, Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import MANIFEST_TYPES, Manifest, parse_manifest
from p2p.core.oci.reference import Reference
from p2p.errors import LocalError, RemoteError, VerificationError

MANIFEST_LIMIT: Final = 8 << 20
_ACCEPT: Final = ", ".join(MANIFEST_TYPES)


class InterruptedPullError(RemoteError):
    """The connection was lost or timed out on the way: asking again may help."""


@dataclass(frozen=True, slots=True)
class ImageName:
    """Where an image is at a node: the name in the path, the ``ns`` if it needs one, and what to ask for.

    A name without a registry's host is left as it is: the node reads its first part as one of its
    upstreams, or the whole as a name at its default one, as with ``docker pull localhost:5000/NAME``.
    """

    text: str
    name: str
    namespace: str
    identifier: str

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read what a user types; RegistryError where it is no image's name."""
        reference = Reference.parse(text)
        first, slash, _ = text.partition("/")
        if not slash or not ("." in first or ":" in first or first == "localhost"):
            name = text.partition("@")[0]
            head, colon, _ = name.rpartition(":")
            return cls(text, head if colon else name, "", reference.identifier)
        if ":" in reference.registry:  # a path's grammar has no colon
            return cls(text, reference.path, reference.registry, reference.identifier)
        return cls(text, f"{reference.registry}/{reference.path}", "", reference.identifier)


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest with the bytes that its digest is of."""

    descriptor: Descriptor
    manifest: Manifest
    data: bytes


def host_platform() -> Platform:
    """Give what this host runs: Linux on its architecture (images for others are of no use here)."""
    return Platform("linux", platform.machine().lower())


class ImageClient:
    """Asks a node for one image's manifests and blobs. Safe for concurrent use."""

    def __init__(self, http: httpx.AsyncClient, image: ImageName) -> None:
        self._http = http
        self._image = image
        self._params = {"ns": image.namespace} if image.namespace else {}

    async def manifest(self, reference: str, expected: Descriptor | None = None) -> FetchedManifest:
        """GET a manifest by tag or digest, and verify it.

        Raises LocalError without a node, RemoteError where the node has none, VerificationError.
        """
        async with self._get(f"manifests/{reference}", {"Accept": _ACCEPT}) as response:
            data = bytearray()
            async for part in self._read(response):
                data += part
                if len(data) > MANIFEST_LIMIT:
                    raise RemoteError(
                        f"image {self._image.text}", f"its manifest is longer than {MANIFEST_LIMIT} bytes"
                    )
            content_type = response.headers.get("content-type")
            stated = response.headers.get("docker-content-digest", "")
        wanted = str(expected.digest) if expected else reference if ":" in reference else stated
        algorithm = wanted.partition(":")[0] or "sha256"
        digest = Digest.of(data, algorithm)
        if wanted and wanted != str(digest):
            raise VerificationError(f"manifest of {self._image.text}", f"it hashes to {digest}, not {wanted}")
        manifest = parse_manifest(bytes(data), content_type)
        found = expected or Descriptor(manifest.media_type, digest, len(data))
        return FetchedManifest(found, manifest, bytes(data))

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """GET a blob from ``offset``: gives where the bytes really begin, and the bytes.

        Raises InterruptedPullError where asking again may help, RemoteError where not.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._get(f"blobs/{digest}", headers) as response:
            yield offset if response.status_code == 206 else 0, self._read(response)

    @asynccontextmanager
    async def _get(self, path: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        subject = f"image {self._image.text}"
        request = self._http.build_request(
            "GET",
            f"/v2/{self._image.name}/{path}",
            params=self._params,
            headers={"Accept-Encoding": "identity", **headers},
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.ConnectError as error:
            raise LocalError(
                f"node {self._http.base_url}",
                "nothing answers there",
                "Start one with: remora node. Or name another with --node URL",
            ) from error
        except httpx.HTTPError as error:
            raise InterruptedPullError(
                subject, f"the connection to the node failed: {_words(error)}"
            ) from error
        try:
            if response.status_code not in (200, 206):
                await self._refuse(response, subject)
            yield response
        finally:
            await response.aclose()

    async def _refuse(self, response: httpx.Response, subject: str) -> None:
        try:
            await response.aread()
            body: object = response.json()
        except (httpx.HTTPError, ValueError):
            body = None
        cause = told(body) or f"the node answers with status {response.status_code}"
        if response.status_code in (429, 502, 503, 504):
            raise InterruptedPullError(subject, cause)
        mend = "Check its name and tag" if response.status_code == 404 else ""
        raise RemoteError(subject, cause, mend)

    async def _read(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            # No chunk size: httpx would copy everything once more.
            async for part in response.aiter_raw():
                yield part
        except httpx.HTTPError as error:
            raise InterruptedPullError(
                f"image {self._image.text}",
                f"the node cut the connection: {_words(error)}",
                "See the node's log",
            ) from error


def _words(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
