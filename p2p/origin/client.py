"""An upstream registry over HTTP: the `Origin` that a node really uses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.errors import OriginNotFoundError, OriginProtocolError
from p2p.origin.api import Fetched, Kind
from p2p.origin.body import ParallelBodies, Tuning, open_body
from p2p.origin.breaker import Breaker
from p2p.origin.exact import content_size
from p2p.origin.ranges import Span, parse_length
from p2p.origin.readable import Readable, readable
from p2p.origin.redirects import next_hop
from p2p.origin.session import Ask, Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    from p2p.config import UpstreamSettings
    from p2p.origin.api import OriginBody
    from p2p.origin.credentials import Credential
    from p2p.origin.session import Answer

INDEX: Final = "application/vnd.oci.image.index.v1+json"
BLOB: Final = "application/octet-stream"
MANIFEST_TYPES: Final = (
    INDEX,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
EMPTY_INDEX: Final = b'{"schemaVersion":2,"mediaType":"' + INDEX.encode() + b'","manifests":[]}'
"""The referrers of what nobody refers to."""

PATIENCE: Final = 8.0
"""Seconds for the question who may read: a client waits for it, and has another place to go."""
MAX_PAGES: Final = 64
"""Pages of referrers that are followed."""
LIST_BYTES: Final = 8 << 20
"""Longest tag list or referrers index that is read."""

_NEXT: Final = re.compile(r"""<([^<>]+)>\s*;[^,<]*\brel="?next\b""", re.IGNORECASE)
_ACCEPT_MANIFEST: Final = {"Accept": ", ".join((*MANIFEST_TYPES, "*/*;q=0.1"))}
_KEPT_HEADERS: Final = ("content-type", "docker-content-digest", "etag", "link", "oci-filters-applied")


class RegistryOrigin:
    """One upstream registry over HTTP. Safe for concurrent use; made cheaply, connects when first asked.

    ``manifest_bytes`` is the longest manifest that is read whole into memory.
    """

    def __init__(
        self,
        name: str,
        settings: UpstreamSettings,
        *,
        user_agent: str,
        environment: Mapping[str, str] | None = None,
        manifest_bytes: int = 4 << 20,
        tuning: Tuning | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.session = Session(name, settings, user_agent=user_agent, environment=environment)
        self._manifest_bytes = manifest_bytes
        self._tuning = tuning or Tuning(streams=settings.streams)
        self._places = ParallelBodies()
        self._strangers = Breaker(), Breaker()
        """Of all that ask without credentials, and of those that ask with their own."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.session.aclose()

    async def head(self, path: str, reference: str) -> Descriptor:
        """HEAD a manifest by tag or digest: digest, size and media type (GET where HEAD lacks one)."""
        ask = Ask(
            "HEAD",
            f"/v2/{path}/manifests/{reference}",
            path,
            _ACCEPT_MANIFEST,
            frozenset({200, 405, 501}),
        )
        answer = await self.session.small(ask)
        await answer.discard()
        named = answer.headers.get("docker-content-digest")
        size = parse_length(answer.headers.get("content-length"))
        media_type = _media_type(answer)
        if answer.status != 200 or size is None or not media_type or (named is None and ":" not in reference):
            return await self._measure(path, reference)
        digest = self._digest(named or reference, "Docker-Content-Digest")
        if ":" in reference and str(digest) != reference:
            raise OriginProtocolError(self.name, f"{ask} was answered with another digest, {digest}")
        return Descriptor(media_type, digest, size)

    async def _measure(self, path: str, reference: str) -> Descriptor:
        """GET a manifest and hash it; a digest asked for must be the one of the bytes."""
        ask = Ask("GET", f"/v2/{path}/manifests/{reference}", path, _ACCEPT_MANIFEST)
        answer = await self.session.small(ask)
        data = await answer.read(self._manifest_bytes, f"manifest {reference}")
        asked = self._digest(reference, "a reference") if ":" in reference else None
        digest = Digest.of(data, asked.algorithm if asked is not None else "sha256")
        if asked is not None and asked != digest:
            raise OriginProtocolError(self.name, f"{ask} gave bytes of another digest, {digest}")
        return Descriptor(_media_type(answer), digest, len(data))

    async def head_blob(self, path: str, digest: Digest) -> Descriptor:
        """HEAD a blob: its size, and proof that the repository reaches it. Raises OriginError."""
        ask = Ask("HEAD", f"/v2/{path}/blobs/{digest}", path)
        return Descriptor(BLOB, digest, await content_size(self.session, ask))

    def open(
        self, path: str, digest: Digest, kind: Kind, *, offset: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[OriginBody]:
        """Open bytes ``[offset, stop)`` of a digest, in order, ``stop`` None for the end; see `Origin`."""
        if offset < 0 or (stop is not None and stop <= offset):
            raise ValueError(f"no bytes from {offset} to {stop}")
        manifest = kind is Kind.MANIFEST
        ask = Ask("GET", f"/v2/{path}/{kind.value}/{digest}", path, _ACCEPT_MANIFEST if manifest else {})
        return open_body(
            self.session,
            ask,
            Span(offset, stop),
            self._tuning,
            self._places,
            limit=self._manifest_bytes if manifest else 0,
        )

    async def holds_credentials(self) -> bool:
        """Whether this node has credentials for it."""
        return await self.session.holds_credentials()

    async def readable(
        self, path: str, wanted: tuple[Kind, str] | None, credential: Credential | None
    ) -> Readable:
        """Whether somebody with these credentials may read the repository at ``path``; see `Gate`."""
        asks = [Ask("GET", f"/v2/{path}/tags/list?n=1", path, {"Accept": "application/json"})]
        if wanted is not None:
            kind, reference = wanted
            manifest = kind is Kind.MANIFEST
            ask = Ask(
                "HEAD", f"/v2/{path}/{kind.value}/{reference}", path, _ACCEPT_MANIFEST if manifest else {}
            )
            # A blob last: it may be redirected to storage, whose links are good for GET alone.
            asks.insert(0 if manifest else 1, ask)
        # Made anew each time: a token lives longer than a repository may stay as it is.
        session = self.session.acting_as(credential, self._strangers[credential is not None])
        with trio.move_on_after(PATIENCE):
            return await readable(session, asks)
        return Readable.UNKNOWN

    async def referrers(self, path: str, digest: Digest, artifact_type: str | None) -> Fetched:
        """Give the referrers index, all pages of it, or the tag schema's where the API is missing.

        The fallback's index is not filtered, and says so by lacking ``OCI-Filters-Applied``.
        """
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        headers = {"Accept": INDEX}
        ok = frozenset({200, 404, 405, 501})
        ask = Ask("GET", f"/v2/{path}/referrers/{digest}{query}", path, headers, ok)
        answer = await self.session.small(ask)
        if answer.status == 200 and _media_type(answer) == INDEX:
            return await self._pages(ask, await self._fetched(answer), answer.url)
        await answer.discard()
        tag = f"{digest.algorithm}-{digest.hex}"[
            :128
        ]  # a tag's longest; distribution-spec, referrers tag schema
        try:
            return await self._fetched(
                await self.session.small(Ask("GET", f"/v2/{path}/manifests/{tag}", path, headers))
            )
        except OriginNotFoundError:
            return Fetched(INDEX, EMPTY_INDEX, (("content-type", INDEX),))

    async def _pages(self, ask: Ask, first: Fetched, url: str) -> Fetched:
        """Follow an index that comes in pages, and give all of them as one; a single page as it came."""
        page, entries = first, list[object]()
        for number in range(MAX_PAGES):
            link = _NEXT.search(dict(page.headers).get("link", ""))
            if link is None and number == 0:
                return first
            entries += self._manifests(page)
            if link is None:
                break
            url, fault = next_hop(url, link[1], self.settings.url)
            if fault:
                raise OriginProtocolError(self.name, f"{ask} has a next page that {fault}")
            page = await self._fetched(await self.session.small(replace(ask, at=url, ok=frozenset({200}))))
        else:
            raise OriginProtocolError(self.name, f"{ask} has more than {MAX_PAGES} pages")
        data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        return replace(first, data=data, headers=tuple(kept for kept in first.headers if kept[0] != "link"))

    def _manifests(self, page: Fetched) -> list[object]:
        try:
            found = json.loads(page.data)["manifests"]
        except (ValueError, RecursionError, LookupError, TypeError):
            found = None
        if not isinstance(found, list):
            raise OriginProtocolError(self.name, "a page of referrers is no index")
        return found

    async def tags(self, path: str, n: int | None, last: str | None) -> Fetched:
        """Give one page of the tag list, with its ``Link`` header as the upstream wrote it."""
        pairs = [(key, str(value)) for key, value in (("n", n), ("last", last)) if value is not None]
        query = f"?{urlencode(pairs)}" if pairs else ""
        ask = Ask("GET", f"/v2/{path}/tags/list{query}", path, {"Accept": "application/json"})
        return await self._fetched(await self.session.small(ask))

    async def _fetched(self, answer: Answer) -> Fetched:
        data = await answer.read(LIST_BYTES, "a list")
        kept = tuple((name, answer.headers[name]) for name in _KEPT_HEADERS if name in answer.headers)
        return Fetched(_media_type(answer), data, kept, answer.status)

    def _digest(self, text: str, where: str) -> Digest:
        try:
            return Digest.parse(text)
        except RegistryError as error:
            raise OriginProtocolError(self.name, f"{where} is no digest ({text[:80]!r})") from error


def _media_type(answer: Answer) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()
