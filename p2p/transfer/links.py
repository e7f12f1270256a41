"""The links to all peers: dialled when a swarm first needs one, or accepted; shared by all swarms.

What this node asks of a peer it asks on a link that it dialled itself: then what answers is what listens
at that address, and no other node on the same host can lie in its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11
import structlog
import trio
import trio_websocket

from p2p.core.swarm.events import PeerGone
from p2p.core.wire.common import Provider
from p2p.errors import PeerError
from p2p.net.answers import unwrap
from p2p.transfer.exchange import Exchange
from p2p.transfer.introductions import Introductions
from p2p.transfer.link import MAX_MESSAGE, Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.core.oci.digest import Digest
    from p2p.core.swarm.midstates import Midstates
    from p2p.core.swarm.reputation import Reputation
    from p2p.core.wire.peer import FindReference, FoundReference, PeerHello
    from p2p.transfer.holdings import Holdings
    from p2p.transfer.link import Sink

PATH = "/p2p/v1/exchange"
DIAL_SECONDS = 2.0
FIND_SECONDS = 1.0
RECEIVE_BYTES = 65536
MOST = 512
"""Links dialled at once, and as many accepted."""

_NO_PEER = (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, h11.ProtocolError)
"""What an answer that is no peer's has the library raise, also from its own task."""

log = structlog.get_logger(__name__)

Address = tuple[str, int]


@dataclass(slots=True)
class _Waiting:
    provider: Provider
    digest: Digest
    midstates: Callable[[], Midstates]
    sink: Sink


@dataclass(slots=True)
class _Dial:
    """A link that is coming: who waits for it, and when it came or failed."""

    waiting: list[_Waiting] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)


class Links:
    """The links dialled, by address, and those accepted.

    ``met`` is told of every peer whose hello came, ``find`` answers for tags.
    """

    def __init__(
        self,
        hello: PeerHello,
        holdings: Holdings,
        reputation: Reputation,
        *,
        met: Callable[[Provider], None],
        find: Callable[[FindReference], Awaitable[FoundReference]],
    ) -> None:
        self.exchange = Exchange(hello.node, holdings.shareable)
        self._hello = hello
        self._holdings = holdings
        self._reputation = reputation
        self._met = met
        self._find = find
        self._links: dict[Address, Link] = {}
        self._accepted: set[Link] = set()
        self._dialling: dict[Address, _Dial] = {}
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        return len(self._links) + len(self._accepted)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the links until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def subscribe(
        self, provider: Provider, digest: Digest, midstates: Callable[[], Midstates], sink: Sink
    ) -> None:
        """Subscribe to a digest at a provider, dialling it if need be.

        ``sink`` gets the peer's events under ``provider.node``, at last (or at once) ``PeerGone``.
        ``midstates`` gives the list that the swarm goes by when the subscription is sent.
        """
        address = (provider.host, provider.port)
        link = self._links.get(address)
        if link is not None and not link.closed:
            link.subscribe(digest, provider.node, midstates(), sink)
            return
        dial = self._dial(address)
        if dial is None:
            sink(PeerGone(provider.node, "no room for another link"))
        else:
            dial.waiting.append(_Waiting(provider, digest, midstates, sink))

    def unsubscribe(self, provider: Provider, digest: Digest) -> None:
        """End a subscription, also one that waits for its link."""
        address = (provider.host, provider.port)
        dial = self._dialling.get(address)
        if dial is not None:
            dial.waiting = [w for w in dial.waiting if w.digest != digest]
        link = self._links.get(address)
        if link is not None:
            link.unsubscribe(digest)

    async def accept(self, stream: trio.abc.Stream, host: str) -> None:
        """Serve a link that a peer on ``host`` opened, until it ends (the server gives its stream away)."""
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(DIAL_SECONDS):
                    request = await trio_websocket.wrap_server_stream(
                        nursery, stream, receive_buffer_size=RECEIVE_BYTES, max_message_size=MAX_MESSAGE
                    )
                    websocket = await request.accept()
                link, theirs = await self._greet(websocket, (host, 0), dialled=False)
                self._accepted.add(link)
                try:
                    if theirs.port:
                        self._met(Provider(theirs.node, theirs.name, host, theirs.port, zone=theirs.zone))
                    await link.run()
                finally:
                    self._accepted.discard(link)
            except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed) as error:
                log.debug("peer did not link", host=host, cause=repr(error))
            except (trio.TooSlowError, trio.BrokenResourceError) as error:
                log.debug("peer did not link", host=host, cause=repr(error))
            except PeerError as error:
                log.info("peer refused", peer=error.subject, cause=error.cause)
            nursery.cancel_scope.cancel()

    async def find_reference(
        self, static: tuple[Provider, ...], repository: str, reference: str
    ) -> FoundReference | None:
        """Ask every linked peer, and the static ones, for a tag; the youngest answer within a second."""
        answers: list[FoundReference] = []

        async def ask(link: Link) -> None:
            answers.append(await link.find_reference(repository, reference))

        async def reach(provider: Provider) -> None:
            address = (provider.host, provider.port)
            dial = self._dial(address)
            if dial is not None:
                await dial.done.wait()
            if address in self._links:
                await ask(self._links[address])

        with trio.move_on_after(FIND_SECONDS):
            async with trio.open_nursery() as nursery:
                linked = dict(self._links)
                for link in (*linked.values(), *self._accepted):
                    nursery.start_soon(ask, link)
                for provider in static:
                    if (provider.host, provider.port) not in linked:
                        nursery.start_soon(reach, provider)
        found = [answer for answer in answers if answer.digest]
        return min(found, key=lambda answer: answer.age, default=None)

    # ── one link ───────────────────────────────────────────────────────────────────────────────────

    def _dial(self, address: Address) -> _Dial | None:
        """Have a link dialled, or join a dial under way; None where there is no room."""
        dial = self._dialling.get(address)
        if dial is None and self._nursery is not None and len(self._links) + len(self._dialling) < MOST:
            dial = self._dialling[address] = _Dial()
            self._nursery.start_soon(self._keep, address, dial)
        return dial

    async def _keep(self, address: Address, dial: _Dial) -> None:
        """Be the link to an address, from the dial to its end. What goes wrong ends this link alone."""
        name = f"peer {address[0]}:{address[1]}"
        reason = "this node stops"
        try:
            await self._linked(name, address, dial)
        except PeerError as error:
            reason = str(error)
        except Exception as raised:
            cause = unwrap(raised)
            reason = f"{name}: the link broke: {cause!r}"
            if not isinstance(cause, _NO_PEER):
                log.exception("link broke", peer=name)
        finally:
            self._came(address, dial, None, reason)

    async def _linked(self, name: str, address: Address, dial: _Dial) -> None:
        stream = await _reach(name, address)
        failure: PeerError | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    with trio.fail_after(DIAL_SECONDS):
                        websocket = await trio_websocket.wrap_client_stream(
                            nursery,
                            stream,
                            f"{address[0]}:{address[1]}",
                            PATH,
                            receive_buffer_size=RECEIVE_BYTES,
                            max_message_size=MAX_MESSAGE,
                        )
                    link, theirs = await self._greet(websocket, address, dialled=True)
                    self._met(Provider(theirs.node, theirs.name, *address, zone=theirs.zone))
                    self._links[address] = link
                    try:
                        self._came(address, dial, link)
                        await link.run()
                    finally:
                        if self._links.get(address) is link:
                            del self._links[address]
                except PeerError as error:
                    failure = error
                except (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed) as error:
                    failure = PeerError(name, f"could not be linked: {error!r}")
                except trio.TooSlowError:
                    failure = PeerError(name, f"could not be linked within {DIAL_SECONDS:g} s")
                nursery.cancel_scope.cancel()
        finally:
            # The WebSocket leaves its stream open when the other end broke off: it is ours to close.
            await trio.aclose_forcefully(stream)
        if failure is not None:
            raise failure

    def _came(self, address: Address, dial: _Dial, link: Link | None, reason: str = "") -> None:
        """A dial ended: subscribe those who wait for the link, or tell them that there is none."""
        if dial.done.is_set():
            return
        dial.done.set()
        del self._dialling[address]
        for waiting in dial.waiting:
            if link is None:
                waiting.sink(PeerGone(waiting.provider.node, reason))
            else:
                link.subscribe(waiting.digest, waiting.provider.node, waiting.midstates(), waiting.sink)

    async def _greet(
        self, websocket: trio_websocket.WebSocketConnection, address: Address, *, dialled: bool
    ) -> tuple[Link, PeerHello]:
        """Exchange hellos; PeerError where the other side is banned, one too many, or none of us."""
        others = Introductions(self.exchange, address, self._hello.zone)
        link = Link(websocket, self._hello, self._holdings, self._find, others)
        theirs = await link.greet()
        if theirs.node == self._hello.node:
            if dialled:
                self._met(Provider(theirs.node, theirs.name, *address))  # so that it is dialled no more
            await websocket.aclose(1008, "the same node")
            raise PeerError(f"peer {theirs.name}", "is this node itself")
        if self._reputation.banned(theirs.node, trio.current_time()):
            await websocket.aclose(1008, "banned")
            raise PeerError(f"peer {theirs.name}", "is banned")
        if not dialled and len(self._accepted) >= MOST:
            await websocket.aclose(1013, "no room")
            raise PeerError(f"peer {theirs.name}", f"is one more than the {MOST} that are linked")
        return link, theirs


async def _reach(name: str, address: Address) -> trio.SocketStream:
    with trio.move_on_after(DIAL_SECONDS):
        try:
            return await trio.open_tcp_stream(*address)
        except OSError as error:
            raise PeerError(name, f"could not be reached: {error}") from error
    raise PeerError(name, f"could not be reached within {DIAL_SECONDS:g} s")
