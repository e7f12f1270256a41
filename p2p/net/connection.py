"""One client's connection: requests in, responses out, until either side ends it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

import h11
import structlog
import trio

from p2p.errors import RemoraError
from p2p.net.answers import BODILESS, TLS_ON_PLAIN_PORT, Dates, error_response, refusal, render_head, unwrap
from p2p.net.body import IncomingBody
from p2p.net.errors import (
    BodyError,
    BodyLostError,
    ClientGoneError,
    ImpossibleResponseError,
    RefusedRequestError,
)
from p2p.net.head import TLS_HANDSHAKE, make_request, read_head
from p2p.net.message import Handler, Request, Response, Spans, Takeover
from p2p.net.replay import ReplayStream
from p2p.net.spans import send_spans
from p2p.net.wire import Wire

if TYPE_CHECKING:
    from p2p.config import ServerLimits
    from p2p.net.roster import Roster
    from p2p.net.transport import Transport

DRAIN_BYTES = 64 * 1024
"""An unread body up to this is read and dropped to keep the connection; a longer one ends it."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What the connections of one server share."""

    handler: Handler
    limits: ServerLimits
    roster: Roster
    dates: Dates = field(default_factory=Dates)
    scheme: str = "http"


class _After(Enum):
    """What becomes of a connection after an exchange."""

    NEXT = auto()
    CLOSE = auto()
    LINGER = auto()
    ABORT = auto()


class Connection:
    """Serves one client until the end. Owns ``transport``.

    Whatever goes wrong ends this connection and no other: handlers' errors are logged and answered,
    clients' are answered where they can be. A response that can't be completed is cut.
    """

    def __init__(self, transport: Transport, service: Service) -> None:
        self._transport = transport
        self._service = service
        self._wire = Wire(transport, header_bytes=service.limits.header_bytes)
        self._scope = trio.CancelScope()
        self._served = 0
        self._pending = False
        self._keep = True

    def dismiss(self) -> None:
        """Close at once (``roster.Member``)."""
        self._scope.cancel()

    async def run(self) -> None:
        """Serve until either side ends it."""
        try:
            with self._scope:
                after = _After.NEXT
                while after is _After.NEXT:
                    try:
                        after = await self._exchange()
                    except ClientGoneError as error:
                        _logger.debug("client left", peer=self._transport.peer, cause=error.cause)
                        after = _After.ABORT
                if after is _After.LINGER:
                    await self._transport.linger()
                elif after is _After.ABORT:
                    await self._transport.abort()
        except Exception:  # the edge: one connection's bug is logged whole, and ends that connection alone
            _logger.exception("connection failed", peer=self._transport.peer)
        finally:
            with trio.CancelScope(shield=True):  # bounded: closing forcefully waits for nothing
                await self._transport.close()

    async def _exchange(self) -> _After:
        """Serve one request."""
        try:
            event = await self._receive_head()
            if event is None:
                return _After.CLOSE
            limits = self._service.limits
            raw, rest = self._wire.recording(), self._wire.left_over()
            head = read_head(event, raw[: len(raw) - len(rest)], limits.header_bytes)
            timeout, rate = limits.body_timeout, limits.minimum_rate
            body = IncomingBody(self._wire, head.length, timeout=timeout, rate=rate)
            peer, scheme = self._transport.peer, self._service.scheme
            request = make_request(head, body, peer=peer, scheme=scheme)
        except RefusedRequestError as error:
            await self._transport.send(refusal(error.status, f"The request is refused: {error.cause}."))
            return _After.LINGER
        self._served += 1
        self._keep = head.keep_alive
        response = await self._handle(request)
        if isinstance(response.body, Takeover):
            return await self._give_away(response.body)
        try:
            after = await self._respond(request, response, body)
        finally:
            if isinstance(response.body, Spans) and response.body.close is not None:
                response.body.close()
        return await self._finish(body) if after is _After.NEXT else after

    async def _receive_head(self) -> h11.Request | None:
        """Wait for a request's head; None when there is none to come. Too slow a client is left."""
        wire, limits = self._wire, self._service.limits
        self._service.roster.wait(self)
        started = self._served == 0
        patience = limits.header_timeout if started else limits.idle_timeout
        self._scope.deadline = trio.current_time() + patience
        if self._pending:
            await trio.lowlevel.checkpoint()  # a client that pipelines takes its turns with the others
        else:
            await wire.receive()
            self._check_tls()
        while True:
            try:
                event = wire.h11.next_event()
            except h11.RemoteProtocolError as error:
                if wire.eof:
                    return None
                raise RefusedRequestError(str(error), status=error.error_status_hint) from error
            except ValueError as error:  # h11 turns digits of any number into an int, and int() has a limit
                raise RefusedRequestError(str(error)) from error
            if isinstance(event, h11.Request):
                self._service.roster.busy(self)
                self._scope.deadline = math.inf
                return event
            if isinstance(event, h11.ConnectionClosed):
                return None
            if not started and wire.recording():
                started = True
                self._scope.deadline = trio.current_time() + limits.header_timeout
            await wire.receive()

    def _check_tls(self) -> None:
        if self._served == 0 and self._wire.recording()[:1] == bytes([TLS_HANDSHAKE]):
            raise RefusedRequestError(TLS_ON_PLAIN_PORT)

    async def _handle(self, request: Request) -> Response:
        """Ask the handler; its errors become responses."""
        try:
            return await self._service.handler(request)
        except Exception as raised:  # the edge: a handler's bug is a logged 500, never a traceback
            error = unwrap(raised)
            if isinstance(error, BodyLostError):
                raise self._transport.gone() from error
            response = error_response(error)
            if response.status == 500:
                _logger.exception("handler failed", method=request.method, path=request.path)
            return response

    async def _respond(self, request: Request, response: Response, body: IncomingBody) -> _After:
        """Send a response; says what is to become of the connection."""
        content = response.body
        assert not isinstance(content, Takeover)
        close = self._must_close(response, body)
        date = self._service.dates.header()
        try:
            head = render_head(
                response.status, response.headers, date=date, length=content.length, close=close
            )
        except ImpossibleResponseError:
            _logger.exception("handler gave an impossible response", path=request.path)
            await self._transport.send(refusal(500, "The node made an answer that HTTP can't express."))
            return _After.LINGER
        bodiless = request.method == "HEAD" or response.status in BODILESS
        try:
            if bodiless:
                await self._transport.send(head)
            elif isinstance(content, Spans):
                await send_spans(self._wire, content, head)
            else:
                await self._transport.send(head + content.data)
        except ClientGoneError:
            raise
        except Exception as raised:  # a body that fails can only be cut, whatever the reason; it is logged
            return self._cut(request, unwrap(raised))
        if not close:
            return _After.NEXT
        return _After.CLOSE if body.done and not self._wire.left_over() else _After.LINGER

    def _must_close(self, response: Response, body: IncomingBody) -> bool:
        if response.close or not self._keep or self._service.roster.stopping or body.failed:
            return True
        if body.done:
            return False
        # A client that waits for "100 Continue" may or may not send the body now: nobody could tell.
        remaining = body.remaining
        return remaining is None or remaining > DRAIN_BYTES or body.expects_continue

    def _cut(self, request: Request, error: Exception) -> _After:
        """Say why a response ends early. A plain close: what was sent is good, and can be resumed from."""
        log = _logger.bind(peer=self._transport.peer, method=request.method, path=request.path)
        if isinstance(error, RemoraError):
            log.warning("response cut", error=str(error))
        else:
            log.error("response cut", exc_info=error)
        return _After.CLOSE

    async def _finish(self, body: IncomingBody) -> _After:
        """Make ready for the next request: drop an unread body, keep what was pipelined."""
        try:
            async for _ in body:
                pass
        except BodyError:
            return _After.LINGER
        self._pending = self._wire.renew()
        return _After.NEXT

    async def _give_away(self, takeover: Takeover) -> _After:
        """Let another protocol have the connection, from the request's first byte."""
        if not self._wire.recorded:
            raise RuntimeError("a handler that takes the connection over must not read the body")
        self._service.roster.give(self)
        stream = ReplayStream(self._transport.stream(), self._wire.recording())
        try:
            await takeover.run(stream)
        except Exception as raised:  # a client that left may come in a group; all else is raised again
            if isinstance(unwrap(raised), trio.BrokenResourceError | trio.ClosedResourceError):
                raise self._transport.gone() from raised
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
        return _After.CLOSE
