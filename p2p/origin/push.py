"""Writing to an upstream registry over HTTP: the `Destination` that is really used.

A small blob is one PUT behind the POST that opens its upload; a large one is streamed by PATCH and closed by
an empty PUT, as all clients do it. A broken upload is asked how far it came (distribution-spec, "Resuming an
upload") and goes on from there; one that the registry has forgotten begins anew.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.errors import (
    OriginError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
    VerificationError,
)
from p2p.origin.api import Stored
from p2p.origin.redirects import next_hop
from p2p.origin.session import Ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from p2p.core.oci.descriptor import Descriptor
    from p2p.origin.api import Content
    from p2p.origin.session import Answer, Session

ATTEMPTS: Final = 5
"""How often an upload is tried without one new byte, and a small request at all."""
FIRST_WAIT: Final = 0.2
"""Seconds before the second try, doubled each time."""
LONGEST_WAIT: Final = 60.0
"""Seconds that a registry may ask us to stay away before that is the end of a push."""
MONOLITHIC: Final = 4 << 20
"""Bytes up to which a blob goes in one PUT."""
_THREAD_FROM: Final = 256 * 1024
"""Bytes from which hashing in a thread costs less than it takes from the loop."""
_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")


class Pusher:
    """Writes to one registry. Safe for concurrent use; owns nothing but what a call is at."""

    def __init__(self, session: Session, *, first_wait: float = FIRST_WAIT) -> None:
        self.name = session.name
        self._session = session
        self._first_wait = first_wait

    async def has_blob(self, path: str, digest: Digest) -> bool:
        """HEAD a blob."""
        ask = Ask(
            "HEAD", f"/v2/{path}/blobs/{digest}", path, ok=frozenset({200, 404}), scope=push_scope(path)
        )
        answer = await self._session.small(ask)
        await answer.discard()
        return answer.status == 200

    async def mount(self, path: str, digest: Digest, source: str) -> bool:
        """Mount a blob from another repository; an upload that is opened in its place is cancelled."""
        query = urlencode({"mount": str(digest), "from": source})
        scope = f"{push_scope(path)} repository:{source}:pull"
        answer = await self._try(self._post(path, query, scope))
        await answer.discard()
        if answer.status == 201:
            return True
        try:
            cancel = Ask("DELETE", f"/v2/{path}/blobs/uploads/", path, ok=frozenset({204}))
            ended = await self._session.send(
                replace(cancel, at=self.location(answer, cancel), scope=push_scope(path))
            )
            await ended.discard()
        except OriginError:
            pass  # it expires by itself
        return False

    async def upload_blob(self, path: str, blob: Descriptor, content: Content) -> int:
        """Upload a blob; see `Destination`. OriginError after ``ATTEMPTS`` without one new byte."""
        upload = _Upload(self, self._session, path, blob, content)
        failures, wait = 0, self._first_wait
        while True:
            before = upload.furthest
            try:
                await upload.go()
            except OriginError as error:
                if not _passing(error) or self._pause() > LONGEST_WAIT:
                    raise
                if upload.furthest > before:
                    failures, wait = 0, self._first_wait
                failures += 1
                if failures >= ATTEMPTS:
                    raise
                await trio.sleep(max(wait, self._pause()))
                wait *= 2
            else:
                return upload.sent

    async def put_manifest(
        self, path: str, manifest: Descriptor, data: bytes, tags: Sequence[str] = ()
    ) -> Stored:
        """PUT a manifest once for each tag, or by digest; the registry must give the same digest back."""
        subject = False
        for reference in tags or (str(manifest.digest),):
            ask = Ask(
                "PUT",
                f"/v2/{path}/manifests/{reference}",
                path,
                {"Content-Type": manifest.media_type, "Content-Length": str(len(data))},
                frozenset({200, 201, 202}),
                scope=push_scope(path),
                body=data,
            )
            answer = await self._try(ask)
            await answer.discard()
            stated = answer.headers.get("docker-content-digest", "")
            # A registry names what it keeps by sha256 where it can't do better: only the same kind compares.
            if _algorithm(stated) == manifest.digest.algorithm and stated != str(manifest.digest):
                raise OriginProtocolError(
                    self.name, f"{ask} was kept as {stated[:140]}, and it is {manifest.digest}"
                )
            subject = "oci-subject" in answer.headers
        return Stored(manifest.digest, subject)

    async def begin(self, path: str) -> str:
        """Open an upload; gives its URL."""
        ask = self._post(path, "", push_scope(path))
        answer = await self._session.send(ask)
        await answer.discard()
        return self.location(answer, ask)

    def _post(self, path: str, query: str, scope: str) -> Ask:
        target = f"/v2/{path}/blobs/uploads/" + (f"?{query}" if query else "")
        headers = {"Content-Length": "0"}
        return Ask("POST", target, path, headers, frozenset({201, 202}), scope=scope)

    async def _try(self, ask: Ask) -> Answer:
        """Send what may be sent twice, with patience."""
        wait = self._first_wait
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._session.send(ask)
            except OriginError as error:
                if not _passing(error) or self._pause() > LONGEST_WAIT:
                    raise
            await trio.sleep(max(wait, self._pause()))
            wait *= 2
        return await self._session.send(ask)

    def _pause(self) -> float:
        return self._session.breaker.wait(trio.current_time())

    def location(self, answer: Answer, ask: Ask) -> str:
        """Give the URL that an answer names, vetted; credentials stay with the registry's own host."""
        target, fault = next_hop(answer.url, answer.headers.get("location"), self._session.settings.url)
        if fault:
            raise OriginProtocolError(self.name, f"{ask} was answered with a Location that {fault}")
        return target


class _Upload:
    """One blob on its way: where its upload is, how far it came, and the hash of what was given away."""

    def __init__(
        self, pusher: Pusher, session: Session, path: str, blob: Descriptor, content: Content
    ) -> None:
        self._pusher = pusher
        self._session = session
        self._path = path
        self._blob = blob
        self._content = content
        self._url = ""
        self._broken = False
        self._hash = hashlib.new(blob.digest.algorithm)
        self._hashed = 0
        self.sent = 0
        self.furthest = 0

    async def go(self) -> None:
        """Begin it, or go on where it broke; returns when the registry has the blob."""
        offset = 0
        if self._url and self._broken:
            offset = await self._ask_progress()
            # Where only the answer to the last PUT was lost, the upload is gone and the blob is there.
            if not self._url and await self._pusher.has_blob(self._path, self._blob.digest):
                return
        if not self._url:
            self._url = await self._pusher.begin(self._path)
            offset = 0
        self._broken = True
        if self._blob.size > MONOLITHIC:
            while offset < self._blob.size:
                offset = await self._patch(offset)
        await self._put(offset)

    async def _ask_progress(self) -> int:
        """GET the upload's status: how many bytes it has; 0 and no URL where it is gone."""
        ask = self._ask("GET", ok=frozenset({204, 200, 202}))
        try:
            answer = await self._session.send(ask)
        except (OriginNotFoundError, OriginStatusError, OriginProtocolError):
            # Some registries sign their state into the URL, and one broken request makes that one stale.
            self._url = ""
            return 0
        await answer.discard()
        return self._progress(answer, ask)

    async def _patch(self, offset: int) -> int:
        """Stream from an offset; gives how far the registry says that it is."""
        length = self._blob.size - offset
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        if offset:
            headers["Content-Range"] = f"{offset}-{self._blob.size - 1}"
        async with self._content(offset) as parts:
            ask = self._ask("PATCH", headers, frozenset({202, 201, 204}))
            answer = await self._session.send(replace(ask, stream=self._read(parts, offset)))
        await answer.discard()
        reached = self._progress(answer, ask)
        if reached <= offset:
            raise OriginUnreachableError(self._pusher.name, f"{ask} took no byte of the {length} sent")
        return reached

    async def _put(self, offset: int) -> None:
        """Close it, with what is left as the body."""
        length = self._blob.size - offset
        query = urlencode({"digest": str(self._blob.digest)})
        ask = self._ask("PUT", {"Content-Length": str(length)}, frozenset({201, 204}))
        ask = replace(ask, at=f"{ask.at}{'&' if '?' in ask.at else '?'}{query}")
        if length:
            headers = {**ask.headers, "Content-Type": "application/octet-stream"}
            if offset:
                headers["Content-Range"] = f"{offset}-{self._blob.size - 1}"
            async with self._content(offset) as parts:
                stream = self._read(parts, offset)
                answer = await self._session.send(replace(ask, headers=headers, stream=stream))
        else:
            self._check()
            answer = await self._session.send(ask)
        await answer.discard()

    def _ask(
        self, method: str, headers: dict[str, str] | None = None, ok: frozenset[int] = frozenset()
    ) -> Ask:
        target = f"/v2/{self._path}/blobs/uploads/"
        scope = push_scope(self._path)
        return Ask(method, target, self._path, headers or {}, ok, at=self._url, scope=scope)

    def _progress(self, answer: Answer, ask: Ask) -> int:
        if "location" in answer.headers:
            self._url = self._pusher.location(answer, ask)
        stated = answer.headers.get("range")
        if stated is None:
            return self._blob.size if ask.method == "PATCH" else 0
        match = _RANGE.fullmatch(stated.strip())
        reached = int(match[1]) + 1 if match else 0
        if reached == 1 and ask.method == "GET":
            reached = 0  # "0-0" is what registries write for nothing as well as for one byte
        if reached > self._blob.size or match is None:
            raise OriginProtocolError(
                self._pusher.name,
                f"{ask}: the upload has the range {stated[:40]!r} of {self._blob.size} bytes",
            )
        self.furthest = max(self.furthest, reached)
        return reached

    def _read(self, parts: AsyncIterator[bytes], offset: int) -> AsyncIterator[bytes]:
        return _Checked(self, parts, offset)

    async def take(self, part: bytes, at: int) -> None:
        """Hash what was not hashed before; VerificationError before the last byte of wrong ones is sent."""
        if at + len(part) > self._blob.size:
            raise VerificationError(
                str(self._blob.digest), f"its content is longer than {self._blob.size} bytes"
            )
        fresh = memoryview(part)[max(0, self._hashed - at) :]
        if len(fresh) >= _THREAD_FROM:
            await trio.to_thread.run_sync(self._hash.update, fresh)
        else:
            self._hash.update(fresh)
        self._hashed += len(fresh)
        if self._hashed == self._blob.size:
            self._check()
        self.sent += len(part)

    def _check(self) -> None:
        if self._hashed == self._blob.size and self._hash.hexdigest() != self._blob.digest.hex:
            raise VerificationError(
                str(self._blob.digest), "the bytes that were to be pushed do not match it", "Get it anew"
            )

    def short(self, at: int) -> VerificationError:
        """Complain of a content that ends too early."""
        return VerificationError(
            str(self._blob.digest), f"its content ends after {at} of {self._blob.size} bytes"
        )

    @property
    def size(self) -> int:
        """The blob's, in bytes."""
        return self._blob.size


class _Checked:
    """A content's parts, hashed on the way. No generator: it may be left in the middle."""

    def __init__(self, upload: _Upload, parts: AsyncIterator[bytes], offset: int) -> None:
        self._upload = upload
        self._parts = parts
        self._at = offset

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await anext(self._parts, b"")
        if not part:
            if self._at < self._upload.size:
                raise self._upload.short(self._at)
            raise StopAsyncIteration
        await self._upload.take(part, self._at)
        self._at += len(part)
        return part


def push_scope(path: str) -> str:
    """What a token for pushing must allow."""
    return f"repository:{path}:pull,push"


def _passing(error: OriginError) -> bool:
    if isinstance(error, OriginStatusError):
        return error.status >= 500 or error.status in (408, 416)
    return isinstance(error, OriginUnreachableError | OriginLimitedError)


def _algorithm(text: str) -> str:
    try:
        return Digest.parse(text).algorithm
    except RegistryError:
        return ""
