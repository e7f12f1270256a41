"""A command's connection to the tracker: says hello, asks, reads reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import trio
import trio_websocket

from p2p.core.wire import codec
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.tracker import (
    ClientHello,
    FromTracker,
    JobReport,
    PrefetchAsk,
    PrefetchCancel,
    Refused,
    ToTracker,
    Welcome,
)
from p2p.discovery.channel import CONNECT_TIMEOUT, open_channel, parse_url
from p2p.errors import RemoraError, TrackerError

_UNREACHABLE: Final = (
    OSError,
    trio.TooSlowError,
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
)


class TrackerClient:
    """One open connection. All errors are TrackerError; it names the tracker."""

    def __init__(self, socket: trio_websocket.WebSocketConnection, url: str) -> None:
        self._socket = socket
        self._url = url

    async def hello(self) -> Welcome:
        """Introduce ourselves; refused where the protocol's versions differ."""
        await self._send(ClientHello(PROTOCOL_VERSION))
        with trio.move_on_after(CONNECT_TIMEOUT):
            answer = await self._receive()
            if isinstance(answer, Welcome) and answer.version == PROTOCOL_VERSION:
                return answer
            raise self._error(
                "it speaks another version of the protocol", "Run the same release on both sides"
            )
        raise self.silent(CONNECT_TIMEOUT)

    async def prefetch(self, images: tuple[str, ...], nodes: tuple[str, ...]) -> None:
        """Start a job; reports follow."""
        await self._send(PrefetchAsk(images, nodes))

    async def cancel(self, job: str) -> None:
        """Stop a job."""
        await self._send(PrefetchCancel(job))

    async def next_report(self) -> JobReport:
        """Wait for the next report of the job."""
        while True:
            message = await self._receive()
            if isinstance(message, JobReport):
                return message

    def silent(self, seconds: float) -> TrackerError:
        """Make the error for an answer that did not come."""
        return self._error(f"no answer within {seconds:g} s", "See its log")

    async def _send(self, message: ToTracker) -> None:
        try:
            await self._socket.send_message(codec.encode(message))
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from error

    async def _receive(self) -> FromTracker:
        try:
            data = await self._socket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from error
        try:
            message = codec.FROM_TRACKER.decode(data if isinstance(data, bytes) else data.encode())
        except codec.WireError as error:
            raise self._error(
                f"it sent what is no message: {error.cause}", "Is it a Remora tracker?"
            ) from error
        if isinstance(message, Refused):
            raise self._error(f"it refuses: {message.reason}")
        return message

    def _closed(self, error: trio_websocket.ConnectionClosed) -> TrackerError:
        reason = error.reason.reason if error.reason else None
        return self._error(f"it closed the connection{f': {reason}' if reason else ''}", "See its log")

    def _error(self, cause: str, mend: str = "") -> TrackerError:
        return TrackerError(f"tracker {self._url}", cause, mend)


@asynccontextmanager
async def open_tracker(url: str) -> AsyncIterator[TrackerClient]:
    """Connect and say hello; TrackerError where that fails; a lone error of the body comes out bare."""
    try:
        async with open_channel(parse_url(url)) as socket:
            client = TrackerClient(socket, url)
            await client.hello()
            yield client
    except (BaseExceptionGroup, *_UNREACHABLE) as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
            cause = cause.exceptions[0]
        if isinstance(cause, _UNREACHABLE):
            words = str(cause) or type(cause).__name__
            raise TrackerError(
                f"tracker {url}",
                f"can't be reached: {words}",
                "Is it running? Start one with: remora tracker",
            ) from cause
        if isinstance(cause, RemoraError | KeyboardInterrupt):
            raise cause from None
        raise


@asynccontextmanager
async def open_any_tracker(urls: Sequence[str]) -> AsyncIterator[TrackerClient]:
    """Connect to the first of several trackers that answers: all nodes are connected to each.

    TrackerError of the last one where none does.
    """
    async with AsyncExitStack() as stack:
        for url in urls[:-1]:
            with suppress(TrackerError):
                client = await stack.enter_async_context(open_tracker(url))
                break
        else:
            client = await stack.enter_async_context(open_tracker(urls[-1]))
        yield client
