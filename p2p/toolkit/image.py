"""One image at a node's /v2/: what a client asks, with errors that a person can act on."""

from __future__ import annotations

import platform
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
import trio

from p2p.core.oci.descriptor import Descriptor, Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import told
from p2p.core.oci.manifest import INDEX_TYPES, MANIFEST_TYPES, parse_manifest
from p2p.core.oci.reference import Reference
from p2p.errors import LocalError, RemoteError, VerificationError
from p2p.toolkit.api import FetchedManifest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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


def host_platform() -> Platform:
    """Give what this host runs: Linux on its architecture (images for others are of no use here)."""
    return Platform("linux", platform.machine().lower())


def verify_manifest(
    image: str, data: bytes, content_type: str | None, wanted: str, expected: Descriptor | None = None
) -> FetchedManifest:
    """Hash a manifest and read it; ``wanted`` is the digest that it must have, "" where none is known.

    VerificationError where it has another, RegistryError where it can't be read.
    """
    digest = Digest.of(data, wanted.partition(":")[0] or "sha256")
    if wanted and wanted != str(digest):
        raise VerificationError(f"manifest of {image}", f"it hashes to {digest}, not {wanted}")
    manifest = parse_manifest(data, content_type)
    return FetchedManifest(expected or Descriptor(manifest.media_type, digest, len(data)), manifest, data)


def too_long(image: str) -> RemoteError:
    """Complain of a manifest beyond ``MANIFEST_LIMIT``."""
    return RemoteError(f"image {image}", f"its manifest is longer than {MANIFEST_LIMIT} bytes")


class ImageClient:
    """Asks a node for one image's manifests and blobs. Safe for concurrent use.

    ``login`` gives an ``Authorization`` for the image's registry, "" for none; it is called once, and only if
    the node wants one.
    """

    def __init__(
        self, http: httpx.AsyncClient, image: ImageName, login: Callable[[], Awaitable[str]] | None = None
    ) -> None:
        self._http = http
        self._image = image
        self._login = login
        self._authorization = ""
        self._lock = trio.Lock()
        self._params = {"ns": image.namespace} if image.namespace else {}

    async def manifest(self, reference: str, expected: Descriptor | None = None) -> FetchedManifest:
        """GET a manifest by tag or digest, and verify it.

        Raises LocalError without a node, RemoteError where the node has none, VerificationError.
        """
        data, content_type, stated = await self._small(f"manifests/{reference}", _ACCEPT)
        wanted = str(expected.digest) if expected else reference if ":" in reference else stated
        return verify_manifest(self._image.text, data, content_type, wanted, expected)

    async def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """GET the list of referrers."""
        data, content_type, _ = await self._small(f"referrers/{digest}", INDEX_TYPES[0])
        return parse_manifest(data, content_type).manifests

    async def _small(self, path: str, accept: str) -> tuple[bytes, str | None, str]:
        async with self._get(path, {"Accept": accept}) as response, aclosing(self._read(response)) as parts:
            data = bytearray()
            async for part in parts:
                data += part
                if len(data) > MANIFEST_LIMIT:
                    raise too_long(self._image.text)
            headers = response.headers
            return bytes(data), headers.get("content-type"), headers.get("docker-content-digest", "")

    @asynccontextmanager
    async def blob(self, digest: Digest, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """GET a blob from ``offset``: gives where the bytes really begin, and the bytes.

        Raises InterruptedPullError where asking again may help, RemoteError where not.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._get(f"blobs/{digest}", headers) as response, aclosing(self._read(response)) as parts:
            yield offset if response.status_code == 206 else 0, parts

    @asynccontextmanager
    async def _get(self, path: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        subject = f"image {self._image.text}"
        response = await self._send(path, headers)
        if response.status_code == 401 and await self._authorize():
            # It is private at its registry: whoever may read it there shows that to the node.
            await response.aclose()
            response = await self._send(path, headers)
        try:
            if response.status_code not in (200, 206):
                await self._refuse(response, subject)
            yield response
        finally:
            await response.aclose()

    async def _authorize(self) -> bool:
        """Look credentials up, once; whether there are any."""
        async with self._lock:
            if self._login is not None:
                login, self._login = self._login, None
                self._authorization = await login()
        return bool(self._authorization)

    async def _send(self, path: str, headers: dict[str, str]) -> httpx.Response:
        if self._authorization:
            headers = {**headers, "Authorization": self._authorization}
        request = self._http.build_request(
            "GET",
            f"/v2/{self._image.name}/{path}",
            params=self._params,
            headers={"Accept-Encoding": "identity", **headers},
        )
        try:
            return await self._http.send(request, stream=True)
        except httpx.ConnectError as error:
            raise LocalError(
                f"node {self._http.base_url}",
                "nothing answers there",
                "Start one with: remora node. Or name another with --node URL",
            ) from error
        except httpx.HTTPError as error:
            raise InterruptedPullError(
                f"image {self._image.text}", f"the connection to the node failed: {_words(error)}"
            ) from error

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

    async def _read(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
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
