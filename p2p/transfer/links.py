"""The links to all peers: dialled when a swarm first needs one, or accepted; shared by all swarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio
import trio_websocket

from p2p.core.swarm.events import PeerGone
from p2p.core.wire.common import Provider
from p2p.errors import PeerError
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
MOST = 512
"""Links at once; beyond, strangers are refused and nobody is dialled."""

log = structlog.get_logger(__name__)

Address = tuple[str, int]


@dataclass(slots=True)
class _Waiting:
    provider: Provider
    digest: Digest
    midstates: Callable[[], Midstates]
    sink: Sink


class Links:
    """Links by peer address. ``met`` is told of every peer whose hello came, ``find`` answers for tags."""

    def __init__(
        self,
        hello: PeerHello,
        holdings: Holdings,
        reputation: Reputation,
        *,
        met: Callable[[Provider], None],
        find: Callable[[FindReference], Awaitable[FoundReference]],
    ) -> None:
        self._hello = hello
        self._holdings = holdings
        self._reputation = reputation
        self._met = met
        self._find = find
        self._links: dict[Address, Link] = {}
        self._dialling: dict[Address, list[_Waiting]] = {}
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        return len(self._links)

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
        waiting = _Waiting(provider, digest, midstates, sink)
        if address in self._dialling:
            self._dialling[address].append(waiting)
        elif self._nursery is None or len(self._links) + len(self._dialling) >= MOST:
            sink(PeerGone(provider.node, "no room for another link"))
        else:
            self._dialling[address] = [waiting]
            self._nursery.start_soon(self._dial, address)

    def unsubscribe(self, provider: Provider, digest: Digest) -> None:
        """End a subscription, also one that waits for its link."""
        address = (provider.host, provider.port)
        if address in self._dialling:
            self._dialling[address] = [w for w in self._dialling[address] if w.digest != digest]
        link = self._links.get(address)
        if link is not None:
            link.unsubscribe(digest)

    async def accept(self, stream: trio.abc.Stream) -> None:
        """Serve a link that a peer opened, until it ends (the server gives the connection away)."""
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(DIAL_SECONDS):
                    request = await trio_websocket.wrap_server_stream(nursery, stream)
                    websocket = await request.accept()
            except (trio_websocket.HandshakeError, trio.TooSlowError, trio.BrokenResourceError):
                nursery.cancel_scope.cancel()
                return
            host = _host(websocket)
            try:
                await self._serve(websocket, host, None)
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
            if address not in self._links and address not in self._dialling and self._nursery is not None:
                self._dialling[address] = []
                await self._dial(address)
            if address in self._links:
                await ask(self._links[address])

        with trio.move_on_after(FIND_SECONDS):
            async with trio.open_nursery() as nursery:
                linked = dict(self._links)
                for link in linked.values():
                    nursery.start_soon(ask, link)
                for provider in static:
                    if (provider.host, provider.port) not in linked:
                        nursery.start_soon(reach, provider)
        found = [answer for answer in answers if answer.digest]
        return min(found, key=lambda answer: answer.age, default=None)

    # ── one link ───────────────────────────────────────────────────────────────────────────────────

    async def _dial(self, address: Address) -> None:
        """Open a link and hand it over to a task of its own once both sides said hello."""
        assert self._nursery is not None
        try:
            await self._nursery.start(self._dialled, address)
        except PeerError as error:
            for waiting in self._dialling.pop(address, ()):
                waiting.sink(PeerGone(waiting.provider.node, str(error)))

    async def _dialled(self, address: Address, *, task_status: trio.TaskStatus[None]) -> None:
        """Be a link to ``address``; PeerError where it does not come about."""
        name = f"peer {address[0]}:{address[1]}"
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
                            receive_buffer_size=65536,
                            max_message_size=MAX_MESSAGE,
                        )
                    await self._serve(websocket, address[0], address, task_status=task_status)
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

    async def _serve(
        self,
        websocket: trio_websocket.WebSocketConnection,
        host: str,
        dialled: Address | None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        link = Link(websocket, self._hello, self._holdings, self._find)
        theirs = await link.greet()
        if self._reputation.banned(theirs.node, trio.current_time()):
            await websocket.aclose(1008, "banned")
            raise PeerError(f"peer {theirs.name}", "is banned")
        address = dialled or (host, theirs.port)
        mine = address not in self._links or self._links[address].closed
        if mine and len(self._links) < MOST:
            self._links[address] = link
        self._met(Provider(theirs.node, theirs.name, host, theirs.port))
        try:
            for waiting in self._dialling.pop(address, ()) if dialled else ():
                link.subscribe(waiting.digest, waiting.provider.node, waiting.midstates(), waiting.sink)
            task_status.started()
            await link.run()
        finally:
            if self._links.get(address) is link:
                del self._links[address]


async def _reach(name: str, address: Address) -> trio.SocketStream:
    with trio.move_on_after(DIAL_SECONDS):
        try:
            return await trio.open_tcp_stream(*address)
        except OSError as error:
            raise PeerError(name, f"could not be reached: {error}") from error
    raise PeerError(name, f"could not be reached within {DIAL_SECONDS:g} s")


def _host(websocket: trio_websocket.WebSocketConnection) -> str:
    remote = websocket.remote
    return str(getattr(remote, "address", remote))
