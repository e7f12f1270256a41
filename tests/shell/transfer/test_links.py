"""Links between nodes over real sockets: who dials, who is refused, what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from p2p.core.swarm.events import PeerAbsent, PeerGone, PeerKnown, PeerMidstates, PeerState, PeerStreams
from p2p.core.swarm.midstates import Midstates
from p2p.core.wire.common import PROTOCOL_VERSION, Provider
from p2p.core.wire.peer import FoundReference, PeerHello, Streams
from p2p.transfer import links as links_module
from tests.support.cluster import Cluster, Node, cluster, open_files
from tests.support.http_rig import until
from tests.support.store_rig import MIB, Blob, blob

CONTENT = blob(2 * MIB + 5)
NONE = Midstates("sha256")


@dataclass
class Follower:
    """Subscribes at a provider and keeps what it is told."""

    node: Node
    provider: Provider
    content: Blob = CONTENT
    told: list[Any] = field(default_factory=list)
    known: set[Any] = field(default_factory=set)

    def subscribe(self) -> Follower:
        self.node.links.subscribe(self.provider, self.content.digest, lambda: NONE, self._take)
        return self

    def _take(self, event: Any) -> None:
        if isinstance(event, PeerKnown):
            self.known |= set(event.addresses)
        else:
            self.told.append(event)

    async def has(self, *kinds: type) -> list[Any]:
        await until(lambda: [type(event) for event in self.told] == list(kinds))
        taken, self.told[:] = list(self.told), []
        return taken


STATE = (PeerState, PeerMidstates)


async def test_a_subscription_dials_and_many_share_the_link() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await two.hold(CONTENT)
        follower = Follower(one, two.provider).subscribe()
        other = Follower(one, two.provider, blob(50, seed=1)).subscribe()
        assert (await follower.has(*STATE))[0].peer == two.id
        assert (await other.has(PeerAbsent))[0].peer == two.id
        assert (len(one.links), len(two.links)) == (1, 1)


@pytest.mark.slow
async def test_nodes_that_dial_each_other_at_once() -> None:
    async with cluster() as world:
        nodes = await world.start(3)
        await nodes[0].hold(CONTENT)
        for _ in range(3):
            followers = [
                Follower(one, two.provider).subscribe() for one in nodes for two in nodes if one is not two
            ]
            for follower in followers:
                at_first = follower.provider.node == nodes[0].id
                await follower.has(*(STATE if at_first else (PeerAbsent,)))
            for follower in followers:
                follower.node.links.unsubscribe(follower.provider, CONTENT.digest)
            # Each asks on what it dialled itself, and answers on what it accepted.
            assert [len(node.links) for node in nodes] == [4, 4, 4]
        await until(lambda: not any(node.holdings._watchers for node in nodes))


async def test_who_is_met_is_told_with_the_address_to_dial() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await Follower(one, two.provider).subscribe().has(PeerAbsent)
        assert one.met == [two.provider]
        assert two.met == [one.provider]


async def test_a_peer_that_goes_away_is_told_to_each_subscription_and_dialled_again() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await two.hold(CONTENT)
        followers = [Follower(one, two.provider, c).subscribe() for c in (CONTENT, blob(50, seed=1))]
        await followers[0].has(*STATE)
        await followers[1].has(PeerAbsent)
        (link,) = two.links._accepted
        link._end("a break")
        for follower in followers:
            await follower.has(PeerGone)
        await followers[0].subscribe().has(*STATE)
        await two.kill()
        await followers[0].has(PeerGone)
        gone = await followers[0].subscribe().has(PeerGone)
        assert "could not be reached" in gone[0].reason
        assert len(one.links) == 0


async def test_a_link_that_is_just_closing_is_replaced() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await two.hold(CONTENT)
        follower = Follower(one, two.provider)
        again = Follower(one, two.provider)

        def resubscribe(event: Any) -> None:
            follower.told.append(event)
            if isinstance(event, PeerGone):
                again.subscribe()

        one.links.subscribe(two.provider, CONTENT.digest, lambda: NONE, resubscribe)
        await follower.has(*STATE)
        one.links._links[two.provider.host, two.provider.port]._end("a break")
        await follower.has(PeerGone)
        await again.has(*STATE)
        await until(lambda: (len(one.links), len(two.links)) == (1, 1))
        # The old link's end left the new one alone.
        one.links.unsubscribe(two.provider, CONTENT.digest)
        await again.subscribe().has(*STATE)


async def test_a_subscription_ended_before_its_link_came() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await two.hold(CONTENT)
        follower = Follower(one, two.provider).subscribe()
        one.links.unsubscribe(two.provider, CONTENT.digest)
        other = Follower(one, two.provider, blob(50, seed=1)).subscribe()
        await other.has(PeerAbsent)
        assert follower.told == []


async def nobody(world: Cluster) -> Provider:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    return Provider("f" * 32, "nobody", "127.0.0.1", port)


async def serves(world: Cluster, handler: Callable[[trio.SocketStream], Any]) -> Provider:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    world._nursery.start_soon(trio.serve_listeners, handler, [listener])
    return Provider("f" * 32, "odd", "127.0.0.1", listener.socket.getsockname()[1])


async def hangs_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def hangs_up_later(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.aclose()


async def refuses(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def garbage(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(b"\x00\x01 garbage\r\n\r\n" * 50)
        await stream.receive_some()


async def says_nothing(stream: trio.SocketStream) -> None:
    async with stream:
        while await stream.receive_some():
            pass


@pytest.mark.parametrize(
    "handler",
    [None, hangs_up, hangs_up_later, refuses, garbage, says_nothing],
    ids=lambda h: h and h.__name__,
)
@pytest.mark.slow
async def test_addresses_where_no_peer_is(handler: Any, mock_clock: Any) -> None:
    mock_clock.rate = 20
    async with cluster() as world:
        node = await world.node()
        provider = await serves(world, handler) if handler else await nobody(world)
        before = open_files()
        followers = [Follower(node, provider, c).subscribe() for c in (CONTENT, blob(50, seed=1))]
        for follower in followers:
            assert (await follower.has(PeerGone))[0].peer == provider.node
        assert node.met == []
        assert len(node.links) == 0
        await until(lambda: not open_files() - before)


async def test_a_banned_peer_gets_no_link() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        for _ in range(2):
            one.reputation.strike(two.id, "lies", trio.current_time())
        gone = await Follower(one, two.provider).subscribe().has(PeerGone)
        assert "banned" in gone[0].reason
        # Nor can it come by itself.
        await Follower(two, one.provider).subscribe().has(PeerGone)
        assert len(one.links) == 0


async def test_nobody_is_asked_over_a_link_that_he_did_not_listen_for() -> None:
    """A peer that greets with another one's port is not taken for him: his bans would be another's."""
    async with cluster() as world:
        one, two, liar = await world.start(3)
        await two.hold(CONTENT)
        liar.links._hello = PeerHello(PROTOCOL_VERSION, liar.id, "liar", two.provider.port)
        await Follower(liar, one.provider).subscribe().has(PeerAbsent)
        follower = Follower(one, two.provider).subscribe()
        await follower.has(*STATE)
        assert {link.theirs.node for link in one.links._links.values() if link.theirs} == {two.id}


async def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "MOST", 2)
    async with cluster() as world:
        hub, *others = await world.start(5)
        followers = [Follower(hub, other.provider).subscribe() for other in others]
        for follower in followers[:2]:
            await follower.has(PeerAbsent)
        for follower in followers[2:]:
            assert "no room" in (await follower.has(PeerGone))[0].reason
        comers = [Follower(other, hub.provider).subscribe() for other in others]
        await until(lambda: sum(len(comer.told) for comer in comers) == 4)
        kinds = sorted(type(comer.told[0]).__name__ for comer in comers)
        assert kinds == ["PeerAbsent", "PeerAbsent", "PeerGone", "PeerGone"]
        assert len(hub.links) == 4


async def test_a_list_that_peers_extended_is_sent_with_the_subscription_when_it_goes_out() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await two.hold(CONTENT)
        lists = [NONE]
        told: list[Any] = []
        one.links.subscribe(two.provider, CONTENT.digest, lambda: lists[0], told.append)
        lists[0] = CONTENT.midstates
        await until(lambda: len(told) == 2)
        assert told[1].start == CONTENT.midstates.length


async def test_news_of_a_stream_reach_those_who_subscribed_under_the_name_of_who_told() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        await two.hold(CONTENT)
        follower = Follower(one, two.provider).subscribe()
        await follower.has(*STATE)
        two.links.exchange.streams(Streams(str(CONTENT.digest), "somebody", 0.25))
        two.links.exchange.streams(Streams(str(CONTENT.digest), "somebody", over=True))
        assert await follower.has(PeerStreams, PeerStreams) == [
            PeerStreams(two.id, "somebody", 0.25),
            PeerStreams(two.id, "somebody", 0.0, over=True),
        ]


# ── tags ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_youngest_answer_of_all_counts() -> None:
    digests = [str(blob(50, seed=seed).digest) for seed in range(4)]
    async with cluster() as world:
        one, two, three, four = await world.start(4)
        for node, digest, age in [(two, digests[1], 5.0), (three, digests[2], 1.0), (four, digests[3], 9.0)]:
            node.references["v1"] = FoundReference(0, digest, "application/x", 7, age)
        await Follower(one, two.provider).subscribe().has(PeerAbsent)
        await Follower(four, one.provider).subscribe().has(PeerAbsent)
        found = await one.links.find_reference((three.provider, await nobody(world)), "test/app", "v1")
        assert found is not None
        assert (found.digest, found.age) == (digests[2], 1.0)
        assert await one.links.find_reference((), "test/app", "v2") is None
        assert await (await world.node()).links.find_reference((), "test/app", "v1") is None


@pytest.mark.slow
async def test_a_question_does_not_wait_and_a_dial_goes_on_for_others(mock_clock: Any) -> None:
    mock_clock.rate = 10
    async with cluster() as world:
        node = await world.node()
        provider = await serves(world, says_nothing)
        began = trio.current_time()
        assert await node.links.find_reference((provider,), "test/app", "v1") is None
        assert trio.current_time() - began < 1.9
        # Who asks for the same address meanwhile is not forgotten.
        await Follower(node, provider).subscribe().has(PeerGone)


async def test_one_dial_serves_a_question_and_a_subscription() -> None:
    async with cluster() as world:
        one, two = await world.start(2)
        two.references["v1"] = FoundReference(0, str(CONTENT.digest), "application/x", 7, 1.0)
        follower = Follower(one, two.provider).subscribe()
        found = await one.links.find_reference((two.provider,), "test/app", "v1")
        assert found is not None
        await follower.has(PeerAbsent)
        assert len(one.links) == 1


@pytest.mark.slow
async def test_subscribers_of_one_node_hear_of_each_other() -> None:
    async with cluster() as world:
        middle, *others = await world.start(4)
        followers = [Follower(one, middle.provider).subscribe() for one in others]
        addresses = {(one.provider.host, one.provider.port) for one in others}
        for follower in followers:
            own = (follower.node.provider.host, follower.node.provider.port)
            await until(lambda f=follower, own=own: f.known == addresses - {own})
        await others[0].kill()
        late = Follower(await world.node(), middle.provider).subscribe()
        gone = (others[0].provider.host, others[0].provider.port)
        await until(lambda: late.known == addresses - {gone})


@pytest.mark.slow
async def test_a_node_is_not_linked_with_itself() -> None:
    async with cluster() as world:
        (one,) = await world.start(1)
        follower = Follower(one, one.provider).subscribe()
        (gone,) = await follower.has(PeerGone)
        assert "is this node itself" in gone.reason
        assert one.met[-1].node == one.id, "so that whoever named the address can drop it"
