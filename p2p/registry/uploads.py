"""Blob uploads: begin, mount, send, ask, end, cancel (distribution-spec, "Pushing Blobs")."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError, shown
from p2p.errors import VerificationError
from p2p.metadata.api import GENERIC
from p2p.net.errors import BodyError
from p2p.net.message import Response
from p2p.notifications.api import What
from p2p.registry.replies import VERSION

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.route import UploadRoute, UploadsRoute
    from p2p.metadata.hosting import BlobRecords
    from p2p.net.message import Header, Request
    from p2p.registry.api import Taking
    from p2p.registry.sessions import Sessions
    from p2p.registry.teller import Teller
    from p2p.registry.upstreams import Choice
    from p2p.store.api import Upload

LEAST_CHUNK: Final = 1
_RANGE: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class UploadEndpoints:
    """Answers for one front end. ``grace`` seconds are blobs kept that no manifest refers to yet."""

    def __init__(
        self, *, sessions: Sessions, records: BlobRecords, intake: Taking, teller: Teller, grace: float
    ) -> None:
        self._sessions = sessions
        self._records = records
        self._intake = intake
        self._teller = teller
        self._grace = timedelta(seconds=grace)

    async def begin(
        self, request: Request, choice: Choice, route: UploadsRoute, *, source: Choice | None, anywhere: bool
    ) -> Response:
        """POST. ``source``: the repository to mount from; ``anywhere``: from any hosted one."""
        if route.mount is not None and (source is not None or anywhere):
            mounted = await self._mount(request, choice, route.mount, source)
            if mounted is not None:
                return mounted
        session = await self._sessions.begin(choice.repository, route.algorithm)
        if route.digest is not None:
            try:
                return await self._end(request, choice, session, route.digest)
            except BaseException:
                # Its location was told to nobody. It is gone already where its bytes were the wrong ones.
                with trio.CancelScope(shield=True), suppress(RegistryError):
                    await self._cancel(choice, session)
                raise
        return Response(202, _where(choice, session, 0))

    async def _mount(
        self, request: Request, choice: Choice, digest: Digest, source: Choice | None
    ) -> Response | None:
        lease = datetime.now(UTC) + self._grace
        async with self._intake.alone(choice.repository, digest):
            if not await self._intake.holds(digest):
                return None  # the row without the bytes would be a promise that can't be kept
            where = None if source is None else source.repository
            blob = await self._records.mount(choice.repository, digest, where, lease=lease)
        if blob is None:
            return None
        await self._teller.tell(request, What.MOUNT, choice, blob, source=where)
        return _created(choice, digest)

    async def status(self, choice: Choice, route: UploadRoute) -> Response:
        """GET: how far it is."""
        async with self._sessions.using(choice.repository, route.session) as upload:
            return Response(204, _where(choice, route.session, upload.size))

    async def send(self, request: Request, choice: Choice, route: UploadRoute) -> Response:
        """PATCH: the next bytes, with or without their range."""
        async with self._sessions.using(choice.repository, route.session) as upload:
            refused = await self._append(request, choice, route.session, upload)
            await self._sessions.extend(route.session)
            return refused or Response(202, _where(choice, route.session, upload.size))

    async def end(self, request: Request, choice: Choice, route: UploadRoute) -> Response:
        """PUT: the last bytes, if any, and the digest of all."""
        if route.digest is None:
            raise RegistryError(
                "DIGEST_INVALID", "the query has no digest", mend="End an upload with ?digest=sha256:…"
            )
        return await self._end(request, choice, route.session, route.digest)

    async def cancel(self, choice: Choice, route: UploadRoute) -> Response:
        """DELETE."""
        await self._cancel(choice, route.session)
        return Response(204, (VERSION,))

    async def _cancel(self, choice: Choice, session: str) -> None:
        async with self._sessions.using(choice.repository, session):
            await self._sessions.drop(session)

    async def _end(self, request: Request, choice: Choice, session: str, digest: Digest) -> Response:
        async with self._sessions.using(choice.repository, session) as upload:
            refused = await self._append(request, choice, session, upload)
            if refused is not None:
                return refused
            try:
                blob = await self._intake.take(choice.repository, upload, digest, GENERIC)
            except VerificationError as error:
                # Nothing that is there can ever have this digest: begin anew.
                await self._sessions.drop(session)
                raise RegistryError(
                    "DIGEST_INVALID",
                    f"the upload's bytes do not have the digest {digest}",
                    {"digest": str(digest)},
                ) from error
            except BaseException:
                # It may have become a blob that is nobody's: then it is no upload any more.
                with trio.CancelScope(shield=True):
                    await self._sessions.put_away(session)
                raise
            await self._sessions.end(session)
        await self._teller.tell(request, What.PUSH, choice, Descriptor(GENERIC, digest, blob.size))
        return _created(choice, digest)

    async def _append(
        self, request: Request, choice: Choice, session: str, upload: Upload
    ) -> Response | None:
        """Take the request's body; an answer where it does not go on where the upload ends.

        What came of a body that stops is kept, so that the client can ask how far it got, and go on.
        """
        span = request.header(b"content-range")
        length = request.header(b"content-length")
        stop: int | None = None
        if span is not None:
            found = _RANGE.fullmatch(span.removeprefix("bytes ").partition("/")[0])
            if found is None:
                raise RegistryError("BLOB_UPLOAD_INVALID", f"Content-Range {shown(span)} is none", status=400)
            start, stop = int(found[1]), int(found[2]) + 1
            if start != upload.size or stop <= start:
                return await _out_of_order(request, choice, session, upload.size)
            if length is not None and int(length) != stop - start:
                raise RegistryError(
                    "SIZE_INVALID", f"Content-Range {span} and a Content-Length of {length} disagree"
                )
        try:
            async for data in request.body:
                if stop is not None and upload.size + len(data) > stop:
                    raise RegistryError("SIZE_INVALID", f"the body goes on behind its Content-Range {span}")
                await upload.write(data)
        except BodyError as error:
            raise RegistryError(
                "BLOB_UPLOAD_INVALID",
                f"the body broke off: {error.cause}",
                mend="Ask how far it got, and go on",
            ) from error
        if stop is not None and upload.size != stop:
            raise RegistryError("SIZE_INVALID", f"the body ended before its Content-Range {span} does")
        return None


DRAINED: Final = 8 << 20
"""Bytes of a refused chunk that are read away, so that the client sees the answer and not a reset."""


async def _out_of_order(request: Request, choice: Choice, session: str, size: int) -> Response:
    left = DRAINED
    try:
        async for data in request.body:
            left -= len(data)
            if left < 0:
                break
    except BodyError:
        pass  # the answer is the same, if anybody still hears it
    return Response(416, _where(choice, session, size))


def _where(choice: Choice, session: str, size: int) -> tuple[Header, ...]:
    return (
        (b"Location", f"/v2/{choice.name}/blobs/uploads/{session}".encode("ascii")),
        (b"Range", b"0-%d" % max(0, size - 1)),
        (b"Docker-Upload-UUID", session.encode("ascii")),
        (b"OCI-Chunk-Min-Length", b"%d" % LEAST_CHUNK),
        VERSION,
    )


def _created(choice: Choice, digest: Digest) -> Response:
    return Response(
        201,
        (
            (b"Location", f"/v2/{choice.name}/blobs/{digest}".encode("ascii")),
            (b"Docker-Content-Digest", str(digest).encode("ascii")),
            VERSION,
        ),
    )
