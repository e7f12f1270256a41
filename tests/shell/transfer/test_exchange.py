from __future__ import annotations

from typing import Any

import pytest
import trio

from p2p.core.swarm.events import PeerKnown
from p2p.net.listeners import open_listeners
from p2p.transfer.exchange import Exchange
from tests.support.cluster import cluster
from tests.support.http_rig import until
from tests.support.store_rig import MIB, blob

A, B = ("10.0.0.1", 5001), ("10.0.0.2", 5001)
CONTENT = blob(3 * MIB + 5)
D = str(CONTENT.digest)


def test_watchers_and_swarms_hear_of_whoever_is_new() -> None:
    exchange, seen, told = Exchange("own", lambda _: True), [], []
    exchange.watch(D, seen.append)
    assert seen == [D], "there may be somebody already"
    exchange.met(D, "a", A)
    exchange.met(D, "a", A)
    exchange.met(D, "own", B)
    exchange.met(D, "unreachable", ("10.0.0.3", 0))
    assert seen == [D, D]
    with exchange.swarm(CONTENT.digest, told.append):
        assert told == [PeerKnown("", (A,))]
        exchange.met(D, "b", B)
        assert told[-1] == PeerKnown("", (B,))
    exchange.unwatch(D, seen.append)
    exchange.unwatch(D, seen.append)
    exchange.gone(D, "b")
    exchange.met(D, "b", B)
    assert len(seen) == 3
    assert len(told) == 2
    assert exchange.others(D, "a", ()) == (B,)


def test_of_what_peers_get_nothing_of_they_hear_nothing() -> None:
    exchange = Exchange("own", lambda _: False)
    exchange.met(D, "a", A)
    assert exchange.others(D, "b", ()) == ()


def free_addresses(count: int) -> Any:
    async def find() -> list[str]:
        listeners = [(await open_listeners("127.0.0.1:0"))[0] for _ in range(count)]
        addresses = [one.address for one in listeners]
        for one in listeners:
            one.close()
        return addresses

    return find()


@pytest.mark.slow
async def test_ten_nodes_in_a_ring_find_each_other_and_read_two_copies_at_most() -> None:
    """Each knows one other; there is no tracker and no DHT, and all begin at once."""
    content = blob(12 * MIB, seed=5)
    addresses = await free_addresses(10)
    async with cluster() as world:
        world.origin.hold(content)
        nodes = [
            await world.node(knows=(addresses[(n + 1) % 10],), listen=addresses[n], grace=0.2)
            for n in range(10)
        ]
        most: dict[str, int] = dict.fromkeys(addresses, 0)

        async def read(n: int) -> None:
            assert await nodes[n].read(content) == content.data

        async def look() -> None:
            while True:
                for n, node in enumerate(nodes):
                    for account in node.engine.swarms():
                        most[addresses[n]] = max(most[addresses[n]], len(account.peers))
                await trio.sleep(0.01)

        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                async with trio.open_nursery() as reading:
                    for n in range(10):
                        reading.start_soon(read, n)
                nursery.cancel_scope.cancel()
        given = sum(node.engine.statistics().received_origin for node in nodes)
        assert given <= 2 * content.size, given / content.size
        known = {
            n: {one.port for one in node.parts.discovery._static._met.values()}
            for n, node in enumerate(nodes)
        }
        found = [len(known[n]) + 1 for n in range(10)]
        assert min(most.values()) >= 5, most
        assert min(found) >= 6, found


async def test_a_swarm_follows_whoever_its_own_links_come_to_know() -> None:
    async with cluster() as world:
        holder = await world.node(knows=())
        seeker = await world.node(knows=(), has_origin=False)
        await holder.hold(CONTENT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seeker.fetch, CONTENT)
            await until(lambda: bool(seeker.engine.swarms()))
            seeker.links.exchange.met(D, holder.id, ("127.0.0.1", holder.provider.port))
            with trio.fail_after(20):
                await until(lambda: seeker.store.find(CONTENT.digest) is not None)
