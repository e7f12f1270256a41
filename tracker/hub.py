"""The trio shell around the machine: connections in, actions out, ticks in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import structlog
import trio

from p2p.core.wire import tracker as wire
from p2p.core.wire.codec import MAX_MESSAGE, TO_TRACKER, WireError, encode
from tracker.events import Close, Connected, Disconnected, Event, Received, Send, Tick
from tracker.frames import (
    Closing,
    FrameError,
    Frames,
    Handshake,
    Message,
    Ping,
    TooBigError,
    close,
    frame,
    ping,
    pong,
)
from tracker.outbox import LIMIT, Outbox

if TYPE_CHECKING:
    from tracker.core import Tracker

HELLO_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
PING_EVERY = 10.0
PING_TIMEOUT = 10.0
RECEIVE_BUFFER = 65536
NORMAL, PROTOCOL_ERROR, POLICY_VIOLATION, TOO_BIG = 1000, 1002, 1008, 1009
"""WebSocket close codes; the reason follows."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, FrameError, OSError)
"""What the end of a connection looks like."""

log = structlog.get_logger(__name__)


class Hub:
    """Feeds ``machine`` from all connections and does what it asks. ``outbox_limit`` in bytes each."""

    def __init__(self, machine: Tracker, *, outbox_limit: int = LIMIT) -> None:
        self.machine = machine
        self.slow = 0
        """Connections cut because they read too slowly."""
        self._outbox_limit = outbox_limit
        self._outboxes: dict[int, Outbox] = {}
        self._count = 0
        self._wake = trio.Event()
        self._sleeps_until = float("inf")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tick the machine when it is due, until cancelled."""
        task_status.started()
        while True:
            due = self.machine.next_deadline()
            self._sleeps_until = float("inf") if due is None else due
            self._wake = trio.Event()
            with trio.move_on_at(self._sleeps_until):
                await self._wake.wait()
            if (due := self.machine.next_deadline()) is not None and due <= trio.current_time():
                self._handle(Tick())
            # Many plans may be due at once: connections have their turn in between.
            await trio.lowlevel.checkpoint()

    async def serve(self, stream: trio.abc.Stream, address: str) -> None:
        """Serve one connection until it ends; ``address`` is the client's, without its port."""
        why = "it left"
        try:
            with trio.fail_after(HELLO_TIMEOUT):
                handshake = Handshake()
                while not (answer := handshake.feed(await stream.receive_some(RECEIVE_BUFFER))):
                    pass
                await stream.send_all(answer)
            why = await self._converse(_Talk(stream, handshake.rest), address)
        except BaseExceptionGroup as group:
            gone, rest = group.split(_GONE)
            if rest is not None:
                if not isinstance(rest, ExceptionGroup):
                    raise rest from None
                # One connection's fault must not take the others down.
                log.exception("connection failed", address=address, exc_info=rest)
            elif gone is not None:
                why = _why(gone)
        except _GONE as error:
            why = _why(error)
        log.debug("connection ended", address=address, why=why)

    async def _converse(self, talk: _Talk, address: str) -> str:
        self._count += 1
        conn = self._count
        with trio.CancelScope() as scope:
            outbox = self._outboxes[conn] = Outbox(scope.cancel, self._outbox_limit)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_write, talk, outbox, scope)
                    nursery.start_soon(_ping, talk, outbox)
                    await self._read(talk, conn, outbox, address)
                    # Closed or refused: the writer says so and ends us.
            finally:
                outbox.close("it left")
                del self._outboxes[conn]
                self._handle(Disconnected(conn))
        if outbox.overflowed:
            self.slow += 1
            log.warning("connection cut", address=address, why=outbox.reason)
        return outbox.reason

    async def _read(self, talk: _Talk, conn: int, outbox: Outbox, address: str) -> None:
        frames, greeted = Frames(MAX_MESSAGE), False
        data: bytes | bytearray = talk.rest
        while True:
            try:
                for event in frames.feed(data):
                    match event:
                        case Message(data=message):
                            if not self._take(message, conn, outbox, address):
                                return
                            greeted = True
                        case Ping(payload=payload):
                            outbox.put(pong(payload))
                        case Closing(code=code, reason=reason):
                            talk.over, talk.code = True, NORMAL
                            outbox.close(reason or f"it closed with code {code}")
                            return
            except FrameError as error:
                talk.code = TOO_BIG if isinstance(error, TooBigError) else PROTOCOL_ERROR
                outbox.close(error.cause)
                return
            with trio.fail_after(float("inf") if greeted else HELLO_TIMEOUT):
                data = await talk.stream.receive_some(RECEIVE_BUFFER)
            if not data:
                raise trio.BrokenResourceError("it hung up")
            talk.heard = trio.current_time()

    def _take(self, data: bytes, conn: int, outbox: Outbox, address: str) -> bool:
        """Hand a message to the machine; False where nothing more is to be read."""
        try:
            message = TO_TRACKER.decode(data)
        except WireError as error:
            log.warning("garbage refused", address=address, cause=error.cause)
            self._handle(Disconnected(conn))
            outbox.put(frame(encode(wire.Refused(error.cause))))
            outbox.close(error.cause)
            return False
        if isinstance(message, wire.NodeHello | wire.ClientHello):
            self._handle(Connected(conn, message, address))
        else:
            self._handle(Received(conn, message))
        return not outbox.closed

    def _handle(self, event: Event) -> None:
        for action in self.machine.handle(event, trio.current_time()):
            match action:
                case Send(conn=conn, message=message):
                    if (outbox := self._outboxes.get(conn)) is not None:
                        self._queue(outbox, message)
                case Close(conn=conn, reason=reason):
                    log.info("connection closed", connection=conn, reason=reason)
                    if (outbox := self._outboxes.get(conn)) is not None:
                        outbox.close(reason)
                case _:
                    assert_never(action)
        due = self.machine.next_deadline()
        if due is not None and due < self._sleeps_until:
            self._wake.set()

    def _queue(self, outbox: Outbox, message: wire.FromTracker) -> None:
        try:
            outbox.put(frame(encode(message)))
        except WireError as error:
            log.exception("answer too large", message=type(message).__name__)
            outbox.close(error.cause)


class _Talk:
    """An open connection: ``heard`` when something came last, ``rest`` of what came with the handshake.

    ``code``: what it is closed with; ``over``: the other side has closed it.
    """

    def __init__(self, stream: trio.abc.Stream, rest: bytes) -> None:
        self.stream = stream
        self.rest = rest
        self.heard = trio.current_time()
        self.code = POLICY_VIOLATION
        self.over = False


async def _write(talk: _Talk, outbox: Outbox, scope: trio.CancelScope) -> None:
    async def send(data: bytes) -> None:
        with trio.fail_after(SEND_TIMEOUT):
            await talk.stream.send_all(data)

    await outbox.drain(send)
    with trio.move_on_after(CLOSE_TIMEOUT):
        await talk.stream.send_all(close(talk.code, outbox.reason))
        # Its own close, or its end: what it sent meanwhile must not turn ours into a reset.
        while not talk.over and await talk.stream.receive_some(RECEIVE_BUFFER):
            pass
    scope.cancel()


async def _ping(talk: _Talk, outbox: Outbox) -> None:
    """Find out about a node that is gone without a word, so that its lease and plans move on."""
    while True:
        await trio.sleep(PING_EVERY)
        asked = trio.current_time()
        outbox.put(ping())
        await trio.sleep(PING_TIMEOUT)
        if talk.heard < asked:
            raise trio.TooSlowError(f"no answer to a ping within {PING_TIMEOUT:g} s")


def _why(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
