"""The trio shell around the machine: connections in, actions out, ticks in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import structlog
import trio
import trio_websocket

from p2p.core.wire import tracker as wire
from p2p.core.wire.codec import MAX_MESSAGE, TO_TRACKER, WireError, encode
from tracker.events import Close, Connected, Disconnected, Event, Received, Send, Tick
from tracker.outbox import LIMIT, Outbox

if TYPE_CHECKING:
    from tracker.core import Tracker

HELLO_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
PING_EVERY = 10.0
PING_TIMEOUT = 10.0
RECEIVE_BUFFER = 65536
QUEUE = 16
POLICY_VIOLATION = 1008
"""WebSocket close code: the reason follows."""

_GONE = (
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    OSError,
)
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
            async with trio.open_nursery() as nursery:
                with trio.fail_after(HELLO_TIMEOUT):
                    request = await trio_websocket.wrap_server_stream(
                        nursery,
                        stream,
                        message_queue_size=QUEUE,
                        max_message_size=MAX_MESSAGE,
                        receive_buffer_size=RECEIVE_BUFFER,
                    )
                    socket = await request.accept()
                why = await self._converse(socket, address)
                nursery.cancel_scope.cancel()
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

    async def _converse(self, socket: trio_websocket.WebSocketConnection, address: str) -> str:
        self._count += 1
        conn = self._count
        with trio.CancelScope() as scope:
            outbox = self._outboxes[conn] = Outbox(scope.cancel, self._outbox_limit)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, socket, outbox, scope)
                    nursery.start_soon(self._ping, socket)
                    await self._read(socket, conn, outbox, address)
                    # Refused: the writer says so and ends us.
            finally:
                outbox.close("it left")
                del self._outboxes[conn]
                self._handle(Disconnected(conn))
        if outbox.overflowed:
            self.slow += 1
            log.warning("connection cut", address=address, why=outbox.reason)
        return outbox.reason

    async def _read(
        self, socket: trio_websocket.WebSocketConnection, conn: int, outbox: Outbox, address: str
    ) -> None:
        greeted = False
        while not outbox.closed:
            with trio.fail_after(float("inf") if greeted else HELLO_TIMEOUT):
                data = await socket.get_message()
            try:
                # Text frames are garbage too; as bytes they fail in the same way.
                message = TO_TRACKER.decode(data if isinstance(data, bytes) else data.encode())
            except WireError as error:
                log.warning("garbage refused", address=address, cause=error.cause)
                self._handle(Disconnected(conn))
                outbox.put(encode(wire.Refused(error.cause)))
                outbox.close(error.cause)
                return
            if isinstance(message, wire.NodeHello | wire.ClientHello):
                self._handle(Connected(conn, message, address))
            else:
                self._handle(Received(conn, message))
            greeted = True

    async def _write(
        self, socket: trio_websocket.WebSocketConnection, outbox: Outbox, scope: trio.CancelScope
    ) -> None:
        async def send(data: bytes) -> None:
            with trio.fail_after(SEND_TIMEOUT):
                await socket.send_message(data)

        await outbox.drain(send)
        with trio.move_on_after(CLOSE_TIMEOUT):
            await socket.aclose(POLICY_VIOLATION, outbox.reason.encode()[:120].decode(errors="ignore"))
        scope.cancel()

    async def _ping(self, socket: trio_websocket.WebSocketConnection) -> None:
        """Find out about a node that is gone without a word, so that its lease and plans move on."""
        while True:
            await trio.sleep(PING_EVERY)
            with trio.fail_after(PING_TIMEOUT):
                await socket.ping()

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
            outbox.put(encode(message))
        except WireError as error:
            log.exception("answer too large", message=type(message).__name__)
            outbox.close(error.cause)


def _why(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
