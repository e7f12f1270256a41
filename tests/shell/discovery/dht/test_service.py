"""The DHT as a way of discovery, with real sockets: what is announced is found, and nothing else happens."""

from __future__ import annotations

import random
import tracemalloc
from datetime import UTC, datetime

import pytest
import trio

from bench.dht_flood import Sender
from p2p.core.dht.replay import ReplayWindow
from p2p.core.dht.sealing import MAX_DATAGRAM, OVERHEAD, Sealer
from p2p.core.oci.digest import Digest
from p2p.core.swarm.events import LeaseState
from p2p.core.wire.common import Holding, Provider
from p2p.discovery.dht.crypto import AesGcm
from tests.support.dht_nodes import KEY, PEER_PORT, Plans, complete, make, running, state_file, until

BLOB, OTHER = Digest.of(b"blob"), Digest.of(b"other")
NOBODY: frozenset[str] = frozenset()


def want(node, plans, digest=BLOB, unreachable=NOBODY) -> None:
    node.discovery.want(digest, 5, lease=True, unreachable=unreachable, sink=plans)


async def test_what_one_announces_another_finds() -> None:
    async with running(5) as nodes:
        await until(lambda: all(node.discovery.available for node in nodes))
        nodes[1].discovery.announce(complete(BLOB))
        nodes[2].discovery.announce(Holding(str(OTHER), 2, 1, False))
        await until(lambda: nodes[1].discovery.statistics().stored)
        found, missed = Plans(), Plans()
        want(nodes[4], found)
        assert not found.all, "never from inside the call"
        await until(lambda: found.all)
        (plan,) = found.all
        assert (plan.lease, plan.exclusive, plan.route, plan.size) == (LeaseState.UNASKED, False, "dht", 5)
        (provider,) = plan.providers
        port = PEER_PORT + 1
        name = f"127.0.0.1:{port}"
        assert provider == Provider(f"static:{name}", name, "127.0.0.1", port, complete=True)
        want(nodes[3], missed, OTHER)
        await until(lambda: missed.all)
        assert missed.all[0].providers == (), "who has only a part is found through the swarm"
        figures = nodes[4].discovery.statistics()
        assert (figures.found, figures.missed, sum(figures.lookup_classes)) == (1, 0, 1)


async def test_more_providers_come_as_they_are_found_and_the_unreachable_are_left_out() -> None:
    async with running(14) as nodes:
        await until(lambda: all(node.discovery.available for node in nodes))
        for node in nodes[:6]:
            node.discovery.announce(complete(BLOB))
        await until(lambda: all(node.discovery.statistics().stored for node in nodes[:6]))
        plans = Plans()
        want(nodes[13], plans)
        await until(lambda: len(plans.ports) == 6)
        bad = frozenset({f"static:127.0.0.1:{PEER_PORT}"})
        again = Plans()
        want(nodes[13], again, unreachable=bad)
        await until(lambda: again.all)
        assert again.ports == {PEER_PORT + n for n in range(1, 6)}


async def test_alone_it_says_so_at_once_and_goes_on_when_company_comes() -> None:
    async with running(1) as (one,), trio.open_nursery() as nursery:
        plans = Plans()
        assert not one.discovery.available
        want(one, plans)
        await until(lambda: plans.all)
        assert plans.all[0].providers == ()
        other = make(9, bootstrap=(one.address,))
        await nursery.start(other.run)
        other.discovery.announce(complete(BLOB))
        await until(lambda: plans.ports)
        assert plans.ports == {PEER_PORT + 9}
        other.stop()


async def test_unwanted_nothing_more_comes() -> None:
    async with running(3) as nodes:
        await until(lambda: all(node.discovery.available for node in nodes))
        plans = Plans()
        want(nodes[0], plans)
        nodes[0].discovery.unwant(BLOB)
        nodes[0].discovery.unwant(BLOB)
        nodes[1].discovery.announce(complete(BLOB))
        await until(lambda: nodes[1].discovery.statistics().stored)
        assert not plans.all
        assert nodes[0].discovery.statistics().lookups_running == 0


async def test_unwanted_while_it_is_looked_for() -> None:
    async with running(3) as nodes:
        await until(lambda: all(node.discovery.available for node in nodes))
        plans = Plans()
        nodes[1].stop()
        nodes[2].stop()
        want(nodes[0], plans)
        await until(lambda: nodes[0].discovery.statistics().lookups_running)
        nodes[0].discovery.unwant(BLOB)
        await until(lambda: not nodes[0].discovery.statistics().lookups_running)
        assert not plans.all


async def test_what_a_node_has_no_longer_is_not_found_any_more() -> None:
    async with running(4) as nodes:
        nodes[0].discovery.announce(complete(BLOB))
        await until(lambda: nodes[0].discovery.statistics().stored)
        nodes[0].discovery.announce(Holding(str(BLOB), 0, 0, False))
        assert nodes[0].discovery.statistics().provided == 0
        await until(lambda: nodes[0].discovery.statistics().stored == 2)
        plans = Plans()
        want(nodes[3], plans)
        await until(lambda: plans.all)
        assert plans.all[0].providers == ()
        nodes[0].discovery.announce(complete(BLOB))
        await until(lambda: plans.ports)


async def test_over_ipv6_and_both() -> None:
    async with running(3, listen=["127.0.0.1:0", "[::1]:0"]) as nodes, trio.open_nursery() as nursery:
        only_six = make(9, listen="[::1]:0", bootstrap=(nodes[0].address.replace("127.0.0.1", "[::1]"),))
        await nursery.start(only_six.run)
        await until(lambda: only_six.discovery.available)
        only_six.discovery.announce(complete(BLOB))
        await until(lambda: only_six.discovery.statistics().stored)
        plans = Plans()
        want(nodes[2], plans)
        await until(lambda: plans.ports)
        assert [one.host for plan in plans.all for one in plan.providers] == ["::1"]
        only_six.stop()


async def test_contacts_survive_a_restart(tmp_path) -> None:
    file = state_file(tmp_path)
    async with running(4) as nodes, trio.open_nursery() as nursery:
        one = make(9, bootstrap=(nodes[0].address,), file=file)
        await nursery.start(one.run)
        await until(lambda: one.discovery.statistics().contacts == 4)
        one.stop()
        await until(file.exists)
        again = make(9, file=file)
        await nursery.start(again.run)
        await until(lambda: again.discovery.statistics().contacts == 4)
        again.stop()


async def test_peers_known_otherwise_lead_into_the_dht_and_contacts_are_told_as_peers() -> None:
    async with running(2) as nodes, trio.open_nursery() as nursery:
        one, told = make(9), []
        one.discovery.on_contact = told.append
        await nursery.start(one.run)
        host, _, port = nodes[0].address.rpartition(":")
        one.discovery.meet(Provider("n", "n", host, int(port)))
        await until(lambda: told)
        assert told[0] == Provider(f"{0:032x}", f"127.0.0.1:{PEER_PORT}", "127.0.0.1", PEER_PORT)
        one.stop()


async def test_a_ring_of_two_keys_while_they_are_changed() -> None:
    new = b"n" * 32
    async with running(3, ring=(KEY, new)) as nodes, trio.open_nursery() as nursery:
        late = make(8, ring=(new, KEY), bootstrap=(nodes[0].address,))
        old = make(9, ring=(KEY,), bootstrap=(nodes[0].address,))
        foreign = make(10, ring=(b"f" * 32,), bootstrap=(nodes[0].address,))
        for one in (late, old, foreign):
            await nursery.start(one.run)
        await until(lambda: late.discovery.available and old.discovery.available)
        late.discovery.announce(complete(BLOB))
        nodes[1].discovery.announce(complete(OTHER))
        await until(lambda: late.discovery.statistics().stored and nodes[1].discovery.statistics().stored)
        plans, others = Plans(), Plans()
        want(nodes[2], plans)
        want(late, others, OTHER)
        await until(lambda: plans.ports and others.ports)
        assert not foreign.discovery.available
        assert nodes[0].discovery.statistics().dropped["foreign"] > 0
        for one in (late, old, foreign):
            one.stop()


async def test_garbage_gets_no_reply_and_is_counted() -> None:
    rng, wall = random.Random(1), datetime.now(UTC).timestamp()
    sealer = Sealer((KEY,), aead=AesGcm(), entropy=rng.randbytes, replays=ReplayWindow())
    foreign = Sealer((b"f" * 32,), aead=AesGcm(), entropy=rng.randbytes, replays=ReplayWindow())
    good = sealer.seal(b"\x93\xa4ping", wall)
    datagrams = {
        "oversized": bytes(MAX_DATAGRAM + 1),
        "short": bytes([1]) * (OVERHEAD - 1),
        "version": bytes(100),
        "foreign": foreign.seal(b"words", wall),
        "stale": sealer.seal(b"words", wall - 60),
        "forged": good[:-1] + bytes([good[-1] ^ 1]),
        "malformed": good,
        "replayed": good,
    }
    async with running(1) as (node,):
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as stranger:
            await stranger.bind(("127.0.0.1", 0))
            host, _, port = node.address.rpartition(":")
            for datagram in datagrams.values():
                await stranger.sendto(datagram, (host, int(port)))
            await until(lambda: node.discovery.statistics().received == len(datagrams))
            figures = node.discovery.statistics()
            assert figures.dropped == {**dict.fromkeys(datagrams, 1), "unexpected": 0}
            assert figures.sent == 0
            with pytest.raises(BlockingIOError):
                stranger._sock.recv(1, trio.socket.MSG_DONTWAIT)


@pytest.mark.slow
async def test_a_burst_of_lookups_loses_no_contact() -> None:
    async with running(30) as nodes:
        await until(lambda: all(node.discovery.statistics().contacts >= 8 for node in nodes))
        before = nodes[5].discovery.statistics().contacts
        plans = Plans()
        for number in range(500):
            want(nodes[5], plans, Digest.of(b"%d" % number))
        await until(lambda: len(plans.all) >= 500, seconds=50)
        assert nodes[5].discovery.statistics().contacts >= before
        assert sum(node.discovery.statistics().evicted for node in nodes) == 0


@pytest.mark.parametrize("checkpoints", range(1, 12))
async def test_cancelled_anywhere_it_leaves_nothing(checkpoints, tmp_path) -> None:
    """Whatever it was about: the tasks are gone, the contacts are kept, the sockets are their opener's."""
    file = state_file(tmp_path)
    async with running(2) as nodes:
        one = make(9, bootstrap=(nodes[0].address,), file=file)
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            one.discovery.announce(complete(BLOB))
            want(one, Plans())
            for _ in range(checkpoints * 5):
                await trio.lowlevel.checkpoint()
            one.scope.cancel()
        assert not file.with_suffix(".new").exists()
        assert file.exists() == one.discovery.available
        one.sockets.close()


@pytest.mark.slow
async def test_a_quarter_of_them_dead_providers_are_found_all_the_same() -> None:
    """``python -m bench.dht`` does it with 200 nodes and states the times."""
    async with running(24) as nodes:
        await until(lambda: all(node.discovery.statistics().contacts >= 8 for node in nodes), seconds=30)
        blobs = {number: Digest.of(b"%d" % number) for number in range(12)}
        for number, blob in blobs.items():
            nodes[number].discovery.announce(complete(blob))
        await until(lambda: all(nodes[n].discovery.statistics().stored for n in blobs), seconds=30)
        for node in nodes[12:18]:
            node.stop()
        plans = Plans()
        for blob in blobs.values():
            want(nodes[20], plans, blob)
        await until(lambda: len(plans.ports) == len(blobs), seconds=20)


@pytest.mark.slow
async def test_twenty_thousand_datagrams_of_a_fuzzer_leave_no_trace() -> None:
    """``python -m bench.dht`` sends ten million."""
    async with running(2) as nodes:
        await until(lambda: nodes[0].discovery.available)
        sender = Sender(nodes[0].address)
        sender.send(1000)
        await trio.sleep(0.1)
        before = nodes[0].discovery.statistics()
        tracemalloc.start()
        try:
            traced, _ = tracemalloc.get_traced_memory()
            while nodes[0].discovery.statistics().received - before.received < 20_000:
                sender.send(200)
                await trio.sleep(0.001)
            grown = tracemalloc.get_traced_memory()[0] - traced
        finally:
            tracemalloc.stop()
        sender.close()
        assert sender.replies == 0
        assert grown < 500_000, "what is kept is what may come again, for a minute"
        plans = Plans()
        nodes[0].discovery.announce(complete(BLOB))
        await until(lambda: nodes[0].discovery.statistics().stored)
        want(nodes[1], plans)
        await until(lambda: plans.ports)
