"""One connection between two peers: both may subscribe to each other's blobs on it.

What is pushed to the other side is composed at the moment of sending from what is held then, so that a
slow link gets few large messages and never a growing queue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
import trio_websocket
from msgspec.structs import replace

from p2p.core.oci.digest import Digest
from p2p.core.swarm.bitfield import iter_bits
from p2p.core.swarm.events import (
    PeerAbsent,
    PeerGone,
    PeerHave,
    PeerKnown,
    PeerMidstates,
    PeerState,
    PeerStreams,
)
from p2p.core.wire.codec import WireError
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.peer import (
    Absent,
    FindReference,
    FoundReference,
    Have,
    Known,
    PeerHello,
    PeerMessage,
    State,
    Streams,
    Subscribe,
    Unsubscribe,
)
from p2p.core.wire.peer import (
    Midstates as MidstatesMessage,
)
from p2p.errors import PeerError
from p2p.transfer.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.core.swarm.midstates import Midstates
    from p2p.transfer.holdings import Holdings
    from p2p.transfer.introductions import Introductions

    News = PeerState | PeerHave | PeerMidstates | PeerAbsent | PeerGone | PeerKnown | PeerStreams
    Sink = Callable[[News], None]

HELLO_SECONDS = 3.0
SUBSCRIPTIONS = 4096
"""Most digests that one peer may subscribe to."""

CONTROL = 1024
"""Most control messages waiting to be sent; a peer that takes fewer is cut."""

ANSWERS = 16
"""Tags looked up at once for one peer; further questions are answered with nothing."""

PING_SECONDS = 15.0
PONG_SECONDS = 10.0
"""A peer that does not answer a ping for so long is gone without a word."""

CLOSE_SECONDS = 0.5
GOODBYE_SECONDS = 0.05
"""For the goodbye of a link that was cancelled: nobody reads the other side's any more."""

STATES_A_MESSAGE = 4096
HAVES_A_MESSAGE = 1024
MAX_MESSAGE = 1 << 20


@dataclass(slots=True)
class _Serving:
    """How far one subscription of the other side has been served."""

    list_length: int
    list_id: bytes
    told: str = ""
    """``""`` (nothing), ``absent``, ``growing`` or ``complete``."""
    have: int = 0
    states: bytes | None = None


@dataclass(slots=True)
class _Subscription:
    peer: str
    sink: Sink


class Link:
    """A link over an open WebSocket; ``hello`` of the other side is known after ``greet``.

    ``others``: what is told and heard of further peers; None: nothing.
    """

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        hello: PeerHello,
        holdings: Holdings,
        find: Callable[[FindReference], Awaitable[FoundReference]],
        others: Introductions | None = None,
    ) -> None:
        self._others = others
        self._channel = Channel(websocket)
        self._mine = replace(hello, together=True)
        self._holdings = holdings
        self._find = find
        self._control: deque[PeerMessage] = deque()
        self._dirty: dict[str, None] = {}
        self._wake = trio.Event()
        self._serving: dict[str, _Serving] = {}
        self._subscriptions: dict[str, _Subscription] = {}
        self._answers: dict[int, Callable[[FoundReference], None]] = {}
        self._next_request = 1
        self._answering = 0
        self._scope = trio.CancelScope()
        self._reason = "the connection ended"
        self.closed = False
        self.theirs: PeerHello | None = None

    async def greet(self) -> PeerHello:
        """Exchange hellos; PeerError where the other side is not of our kind or too slow."""
        name = self._channel.remote
        with trio.move_on_after(HELLO_SECONDS):
            try:
                await self._channel.put(self._mine)
                (first,) = await self._channel.receive()
            except (trio_websocket.ConnectionClosed, WireError) as error:
                raise PeerError(name, f"did not say hello: {error!r}") from error
            if not isinstance(first, PeerHello) or first.version != PROTOCOL_VERSION:
                raise PeerError(
                    name, "speaks another protocol version", "Run the same Remora release on every node."
                )
            self.theirs = first
            self._channel.together = first.together
            if self._others is not None:
                self._others.greeted(first)
            return first
        raise PeerError(name, f"did not say hello within {HELLO_SECONDS:g} s")

    async def run(self) -> None:
        """Serve both directions until the connection ends; every subscription then gets ``PeerGone``."""
        patience = GOODBYE_SECONDS
        try:
            async with trio.open_nursery() as nursery:
                with self._scope:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._ping)
                    if self._others is not None:
                        nursery.start_soon(self._others.run, self._send)
                    try:
                        await self._read(nursery)
                    except (trio_websocket.ConnectionClosed, WireError, PeerError) as error:
                        self._reason = f"the connection ended: {error!r}"
                nursery.cancel_scope.cancel()
            patience = CLOSE_SECONDS
        finally:
            self.closed = True
            for digest in self._serving:
                self._holdings.unwatch(digest, self._changed)
            if self._others is not None:
                self._others.end()
            gone = list(self._subscriptions.values())
            self._subscriptions.clear()
            for subscription in gone:
                subscription.sink(PeerGone(subscription.peer, self._reason))
            for answer in list(self._answers.values()):
                answer(FoundReference(0))
            with trio.move_on_after(patience, shield=True):
                await self._channel.aclose()

    def _end(self, reason: str) -> None:
        """End the link, from inside or outside of its tasks."""
        self._reason = reason
        self._scope.cancel()

    def subscribe(self, digest: Digest, peer: str, midstates: Midstates, sink: Sink) -> None:
        """Have the other side's state of a digest told to ``sink``, under the name ``peer``.

        The last that is told is ``PeerGone``, at once where the link has ended.
        """
        if self.closed:
            sink(PeerGone(peer, self._reason))
            return
        self._subscriptions[str(digest)] = _Subscription(peer, sink)
        known = midstates.length > 0
        self._send(Subscribe(str(digest), midstates.length, midstates.list_id() if known else b""))

    def unsubscribe(self, digest: Digest) -> None:
        """End it; nothing more comes."""
        if self._subscriptions.pop(str(digest), None) is not None:
            self._holds(str(digest), holds=False)
            self._send(Unsubscribe(str(digest)))

    async def find_reference(self, repository: str, reference: str) -> FoundReference:
        """Ask the other side for a tag; an empty answer where it does not know or the link ends."""
        number, self._next_request = self._next_request, self._next_request + 1
        found: list[FoundReference] = []
        done = trio.Event()

        def answer(message: FoundReference) -> None:
            found.append(message)
            done.set()

        self._answers[number] = answer
        try:
            self._send(FindReference(number, repository, reference))
            await done.wait()
        finally:
            self._answers.pop(number, None)
        return found[0]

    # ── reading ────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, nursery: trio.Nursery) -> None:
        while True:
            for message in await self._channel.receive():
                self._take(message, nursery)

    def _take(self, message: PeerMessage, nursery: trio.Nursery) -> None:
        match message:
            case State() | Have() | MidstatesMessage() | Absent() | Known() | Streams():
                self._tell(message)
            case Subscribe():
                self._serve(message)
            case Unsubscribe(digest=digest):
                if self._serving.pop(digest, None) is not None:
                    self._holdings.unwatch(digest, self._changed)
                    self._dirty.pop(digest, None)
                    if self._others is not None:
                        self._others.serve_no_more(digest)
            case FindReference(request=number) if self._answering >= ANSWERS:
                self._send(FoundReference(number))
            case FindReference():
                self._answering += 1
                nursery.start_soon(self._answer, message)
            case FoundReference(request=number):
                if number in self._answers:
                    self._answers[number](message)
            case PeerHello():
                raise PeerError(self._channel.remote, "said hello twice")

    def _tell(self, message: State | Have | MidstatesMessage | Absent | Known | Streams) -> None:
        subscription = self._subscriptions.get(message.digest)
        if subscription is None:
            return
        peer, sink = subscription.peer, subscription.sink
        match message:
            case Known():
                if self._others is not None:
                    sink(self._others.heard(message, peer))
            case Streams(node=node, quiet=quiet, over=over):
                sink(PeerStreams(peer, node, quiet, over))
            case State():
                self._holds(message.digest, holds=True)
                sink(PeerState(peer, message.size, message.complete, message.have))
            case Have():
                sink(PeerHave(peer, message.chunks))
            case MidstatesMessage():
                sink(PeerMidstates(peer, message.start, message.states, message.list_id))
            case Absent():
                self._holds(message.digest, holds=False)
                sink(PeerAbsent(peer))

    def _holds(self, digest: str, *, holds: bool) -> None:
        if self._others is not None:
            self._others.holds(digest, holds=holds)

    async def _answer(self, message: FindReference) -> None:
        try:
            self._send(await self._find(message))
        finally:
            self._answering -= 1

    def _serve(self, message: Subscribe) -> None:
        try:
            Digest.parse(message.digest)
        except Exception as error:
            raise PeerError(self._channel.remote, f"asked for {message.digest[:80]!r}") from error
        if message.digest not in self._serving:
            if len(self._serving) >= SUBSCRIPTIONS:
                raise PeerError(self._channel.remote, f"subscribed to over {SUBSCRIPTIONS} digests")
            self._holdings.watch(message.digest, self._changed)
            if self._others is not None:
                self._others.serve(message.digest)
        self._serving[message.digest] = _Serving(message.list_length, message.list_id)
        self._changed(message.digest)

    # ── writing ────────────────────────────────────────────────────────────────────────────────────

    def _changed(self, digest: str) -> None:
        self._dirty[digest] = None
        self._wake.set()

    def _send(self, message: PeerMessage) -> None:
        if len(self._control) >= CONTROL:
            self._end(f"it leaves {CONTROL} messages waiting")
            return
        self._control.append(message)
        self._wake.set()

    async def _ping(self) -> None:
        """Find out about a peer that is gone without a word: a power cut sends no end of the stream."""
        try:
            while True:
                await trio.sleep(PING_SECONDS)
                with trio.move_on_after(PONG_SECONDS) as scope:
                    await self._channel.ping()
                if scope.cancelled_caught:
                    self._end(f"no answer to a ping within {PONG_SECONDS:g} s")
                    return
        except trio_websocket.ConnectionClosed:
            return  # the reader sees it too, and ends the link

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._control:
                    await self._channel.put(self._control.popleft())
                while self._dirty:
                    digest = next(iter(self._dirty))
                    del self._dirty[digest]
                    await self._push(digest)
                await self._channel.flush()
        except trio_websocket.ConnectionClosed:
            return  # the reader sees it too, and ends the link

    async def _push(self, digest: str) -> None:
        """Tell the other side what changed of one digest since it was told last."""
        serving = self._serving.get(digest)
        if serving is None:
            return
        parsed = Digest.parse(digest)
        held = self._holdings.held(parsed)
        if held is None:
            if serving.told != "absent":
                self._holdings.asked(parsed)
                serving.told, serving.have, serving.states = "absent", 0, None
                await self._channel.put(Absent(digest))
            return
        held = self._holdings.told(held, digest, self._changed)
        states = held.midstates
        if states is None:
            states = await self._holdings.store.midstates(parsed)
        have = held.have.bits
        kind = "complete" if held.complete else "growing"
        if serving.told != kind or serving.have & ~have:  # chunks go when a list falls
            message = State(digest, held.size, held.complete, b"" if held.complete else held.have.to_bytes())
            serving.told = kind
            await self._channel.put(message)
        elif new := have & ~serving.have:
            chunks = tuple(iter_bits(new))
            for at in range(0, len(chunks), HAVES_A_MESSAGE):
                await self._channel.put(Have(digest, chunks[at : at + HAVES_A_MESSAGE]))
        serving.have = have
        await self._push_states(digest, serving, states)

    async def _push_states(self, digest: str, serving: _Serving, states: Midstates) -> None:
        if serving.states is None:
            theirs = states.prefix(serving.list_length)
            known = theirs.length == serving.list_length and theirs.list_id() == serving.list_id
            start = serving.list_length if known else 0
        elif states.states.startswith(serving.states):
            start = len(serving.states) // states.width
        else:
            start = 0  # our list fell: all of the new one
        # Sent at first even when it adds nothing: it says that our list agrees with theirs so far.
        first = serving.states is None
        serving.states = states.states
        while start < states.length or first:
            first = False
            stop = min(start + STATES_A_MESSAGE, states.length)
            part = states.states[start * states.width : stop * states.width]
            message = MidstatesMessage(digest, start, part, states.prefix(stop).list_id())
            await self._channel.put(message)
            start = stop
