"""Upload sessions: whose they are, who has one in hand now, and when they end.

A session is kept open between two requests, since to open one again means to hash what there is of it; an
idle one is closed after a while, and goes on from disk.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.core.oci.error import RegistryError
from p2p.errors import RemoraError, StoreError
from p2p.metadata.hosting import UploadRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import UploadRecords
    from p2p.store.api import Upload, Uploads

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 300.0
OPEN: Final = 256
"""Idle sessions kept open; beyond, the longest idle ones are closed."""
_PAGE: Final = 100


@dataclass(slots=True)
class _Live:
    upload: Upload
    since: float


class Sessions:
    """The uploads of one front end. ``expiry`` in seconds.

    ``others``: there are other front ends, so that a session without bytes here may be one of theirs.
    """

    def __init__(
        self,
        *,
        records: UploadRecords,
        uploads: Uploads,
        expiry: float,
        others: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._records = records
        self._uploads = uploads
        self._expiry = timedelta(seconds=expiry)
        self._others = others
        self._now = now
        self._live: dict[str, _Live] = {}
        self._in_use: set[str] = set()
        self._rowless: set[str] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forget what nobody will go on with; close what is idle; close all at the end."""
        for session in self._uploads.sessions():
            if await self._records.upload(session) is None:
                await self._uploads.drop(session)  # its row went, and a crash kept its bytes
        task_status.started()
        try:
            while True:
                try:
                    await self.expire()
                except RemoraError as error:
                    log.warning("expired uploads not dropped", cause=str(error))
                await trio.sleep(IDLE_SECONDS / 4)
                await self._close_idle(trio.current_time() - IDLE_SECONDS, OPEN)
        finally:
            with trio.CancelScope(shield=True):
                for live in self._live.values():
                    await live.upload.close()
                self._live.clear()

    async def begin(self, repository: Repository, algorithm: str) -> str:
        """Start a session; gives its name."""
        session = str(uuid.uuid4())  # the specification asks for one
        upload = await self._uploads.begin(session, algorithm)
        try:
            await self._records.begin_upload(UploadRow(session, repository, self._now() + self._expiry))
        except BaseException:
            with trio.CancelScope(shield=True):
                await upload.discard()
            raise
        self._live[session] = _Live(upload, trio.current_time())
        await self._close_idle(0.0, OPEN)
        return session

    @asynccontextmanager
    async def using(self, repository: Repository, session: str) -> AsyncIterator[Upload]:
        """Have a session in hand, alone.

        RegistryError BLOB_UPLOAD_UNKNOWN where there is none in this repository, BLOB_UPLOAD_INVALID (409)
        while another request has it.
        """
        row = await self._records.upload(session)
        if row is None or row.repository != repository:
            raise _unknown(repository, session)
        if session in self._in_use:
            raise RegistryError(
                "BLOB_UPLOAD_INVALID",
                f"upload {session} is in use by another request",
                status=409,
                mend="Send one chunk at a time",
            )
        with self._using(session):
            live = self._live.get(session)
            if live is None:
                try:
                    upload = await self._uploads.resume(session)
                except KeyError:
                    # Sent to the wrong front end, it is not lost: who has its bytes goes on with it.
                    if not self._others:
                        await self._records.end_upload(session)
                    raise _unknown(repository, session) from None
                live = self._live[session] = _Live(upload, trio.current_time())
            try:
                yield live.upload
            finally:
                live.since = trio.current_time()

    @contextmanager
    def _using(self, session: str) -> Iterator[None]:
        self._in_use.add(session)
        try:
            yield
        finally:
            self._in_use.discard(session)

    async def extend(self, session: str) -> None:
        """Somebody goes on with it."""
        await self._records.extend_upload(session, self._now() + self._expiry)

    async def end(self, session: str) -> None:
        """Its bytes are a blob now, or nothing: forget it."""
        self._live.pop(session, None)
        await self._records.end_upload(session)

    async def put_away(self, session: str) -> None:
        """Close what a request has in hand; whoever goes on with it sees what has become of it."""
        live = self._live.pop(session, None)
        if live is not None:
            await live.upload.close()

    async def drop(self, session: str) -> None:
        """Delete what a request has in hand. A crash leaves a row without bytes, which is no upload."""
        live = self._live.pop(session, None)
        if live is not None:
            await live.upload.discard()
        else:
            await self._uploads.drop(session)
        await self._records.end_upload(session)

    async def expire(self) -> int:
        """Drop sessions whose time is over; gives how many."""
        dropped = 0
        while rows := await self._records.expired_uploads(self._now(), _PAGE):
            idle = 0
            for row in rows:
                idle += await self._expired(row.session)
            dropped += idle
            if idle < len(rows):
                break
        return dropped + await self._forget_rowless()

    async def _forget_rowless(self) -> int:
        """Drop what is here of sessions that another front end of the database has expired; gives how many.

        Seen without a row twice, a while apart: one that is just being begun has none yet.
        """
        rowless = set()
        for session in self._uploads.sessions():
            if session not in self._in_use and await self._records.upload(session) is None:
                rowless.add(session)
        again = sorted(rowless & self._rowless)
        self._rowless = rowless.difference(again)
        for session in again:
            # A manifest on its way has no row at any time, and is somebody's.
            if session not in self._in_use:
                with suppress(StoreError), self._using(session):
                    await self.drop(session)
        return len(again)

    async def _expired(self, session: str) -> bool:
        if session in self._in_use:
            return False
        with self._using(session):
            # Asked again: while others were dropped, somebody may have gone on with it, or ended it.
            row = await self._records.upload(session)
            if row is None or row.expires > self._now():
                return False
            await self.drop(session)
        return True

    async def _close_idle(self, before: float, most: int) -> None:
        idle = [session for session in self._live if session not in self._in_use]
        idle.sort(key=lambda session: self._live[session].since)
        over = len(self._live) - most
        for position, session in enumerate(idle):
            live = self._live.get(session)
            if live is None or session in self._in_use:
                continue  # somebody took it while another one was closed
            if position < over or live.since < before:
                with self._using(session):
                    del self._live[session]
                    await live.upload.close()


def _unknown(repository: Repository, session: str) -> RegistryError:
    return RegistryError(
        "BLOB_UPLOAD_UNKNOWN",
        f"repository {repository.path} has no upload {session}",
        mend="Begin a new one: it ended, was cancelled, expired, or was begun at another front end",
    )
