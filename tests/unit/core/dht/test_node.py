"""Nodes of a DHT among each other, on a simulated network: found, missed, dead, lossy, lied to."""

from __future__ import annotations

import hashlib

import pytest

from p2p.core.dht.admission import IDLE
from p2p.core.dht.contact import Endpoint, id_of
from p2p.core.dht.events import Abandon, Discovered, Ended, Meet, Provide, Received, Seek, Tick, Transmit
from p2p.core.dht.messages import NO_TOKEN, DhtMessage, Find, Found, Held, Ping, Place, Pong, Prove, encode
from p2p.core.dht.node import REFRESH
from p2p.core.dht.records import LIFE
from tests.support.dht_rig import EPOCH, Network, endpoint_of, public_of, record_of

KEY = b"k" * 20


def key_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:20]


def came(endpoint: Endpoint, message: DhtMessage, now: float = 0.0) -> Received:
    return Received(endpoint, message, len(encode(message)), EPOCH + now)


def test_what_one_provides_another_finds() -> None:
    network = Network(40)
    network.join()
    assert min(len(node.table) for node in network.nodes) >= 8
    stored = network.provide(7, key_of("blob"))
    assert stored.count >= 7, "or it is one of the eight itself"
    found = network.seek(33, key_of("blob"), enough=1)
    assert found.count == 1
    assert found.seconds < 0.3
    missed = network.seek(33, key_of("other"), lookup=5)
    assert (missed.count, missed.seconds < 1.0) == (0, True)


def test_two_nodes_are_enough_and_one_is_none() -> None:
    network = Network(2)
    network.join(1.0)
    assert [len(node.table) for node in network.nodes] == [1, 1]
    assert network.provide(0, KEY).count == 1
    assert [len(node.records) for node in network.nodes] == [1, 1], "kept by both, being all there are"
    assert network.seek(1, KEY).count == 1
    alone = Network(1)
    assert alone.seek(0, KEY) == Ended(1, 0, 0.0, 0)


def test_the_union_of_what_all_keep() -> None:
    network = Network(30)
    network.join()
    for number in range(20):
        network.provide(number, KEY)
    far = next(n for n in range(20, 30) if not network.nodes[n].records)
    assert network.seek(far, KEY, enough=20).count >= 14, "eight keepers, five records at random from each"
    early = network.seek(far, KEY, enough=3)
    assert 3 <= early.count < 20
    assert early.queries <= 3
    keeper = next(n for n in range(30) if network.nodes[n].records)
    assert network.seek(keeper, KEY, enough=3).queries == 0, "it has them itself"


def test_nobody_finds_himself() -> None:
    network = Network(10)
    network.join()
    network.provide(3, KEY)
    assert network.seek(3, KEY, enough=1).count == 0
    network.provide(4, KEY)
    assert network.seek(3, KEY, enough=1).count == 1


def test_records_run_out_unless_they_are_renewed() -> None:
    network = Network(20)
    network.join()
    network.provide(3, KEY)
    network.run(network.now + LIFE / 2)
    network.provide(4, KEY)
    network.run(network.now + LIFE / 2 + 60)
    assert network.seek(9, KEY).count == 1
    assert sum(len(node.records) for node in network.nodes) == 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_dead_and_loss(seed: int) -> None:
    network = Network(45, seed=seed, loss=0.02)
    network.join(20.0)
    for n in range(8):
        assert network.provide(n, key_of(f"blob {n}")).count >= 5
    for n in range(20, 35):
        network.alive[n] = False
    found = [network.seek(36 + n, key_of(f"blob {n}"), enough=1) for n in range(8)]
    assert sum(one.count for one in found) == 8
    assert all(one.seconds <= 1.0 for one in found)
    # Some time later the dead are forgotten, and nobody else is.
    network.run(network.now + 900)
    dead = {network.nodes[n].id for n in range(20, 35)}
    kept = sum(one.id in dead for node in network.nodes[:20] for one in node.table)
    assert kept <= 0.05 * sum(len(node.table) for node in network.nodes[:20])


@pytest.mark.slow
def test_a_burst_loses_no_contact() -> None:
    network = Network(40, delay=0.2)
    network.join()
    before = len(network.nodes[5].table)
    for n in range(600):
        network.do(5, Seek(100 + n, key_of(f"{n}"), 8))
    network.run(network.now + 120)
    assert sum((5, 100 + n) in network.done for n in range(600)) == 600
    assert len(network.nodes[5].table) >= before
    assert network.nodes[5].admission.evicted == 0


def test_whoever_answers_late_or_asks_is_alive() -> None:
    """A contact that takes 700 ms for everything (a busy host) answers no request in time, and stays."""
    network = Network(12)
    network.join(20.0)
    before = len(network.nodes[5].table)
    network.slow[3] = 0.7
    for n in range(40):
        network.seek(5, key_of(f"{n}"), lookup=n + 1)
        network.run(network.now + 2)
    known = network.nodes[5].table.get(network.nodes[3].id)
    assert known is not None
    assert len(network.nodes[5].table) == before


def test_a_node_cut_off_from_all_keeps_its_table() -> None:
    network = Network(20)
    network.join()
    before = len(network.nodes[5].table)
    for n in range(20):
        network.alive[n] = n == 5
    for n in range(30):
        network.seek(5, key_of(f"{n}"), lookup=n + 1)
        network.run(network.now + 10)
    assert len(network.nodes[5].table) == before


def test_a_node_under_another_address_is_found_there() -> None:
    network = Network(10)
    network.join()
    moved = endpoint_of(900)
    network._by_endpoint[moved] = network._by_endpoint.pop(endpoint_of(4))
    network.aliases[4] = moved
    network.do(4, Meet(endpoint_of(0)))
    network.run(network.now + 30)
    known = network.nodes[0].table.get(network.nodes[4].id)
    assert known is not None
    assert known.endpoint == moved


def test_buckets_are_refreshed() -> None:
    network = Network(30)
    network.join()
    before = network.sent
    network.run(network.now + IDLE / 2)
    assert network.sent == before, "a table in use costs nothing"
    network.run(network.now + IDLE)
    asked = network.sent - before
    assert 0 < asked <= 2 * sum(len(node.table) for node in network.nodes), "one ping for each contact"
    network.run(network.now + REFRESH)
    assert network.sent - before > 3 * asked, "and lookups"


# ── what strangers can do, and can't ───────────────────────────────────────────────────────────────


def test_an_address_that_is_not_proven_gets_a_challenge_and_nothing_else() -> None:
    (node,) = Network(1).nodes
    victim, sender = endpoint_of(5), b"s" * 20
    for request in (Ping(bytes(8), sender, NO_TOKEN), Find(bytes(8), sender, b"t" * 16, KEY, True)):
        event = came(victim, request)
        (action,) = node.handle(event, 0.0)
        assert isinstance(action, Transmit)
        assert isinstance(action.message, Prove)
        assert len(encode(action.message)) <= event.size
    assert len(node.table) == 0
    assert node.counts.challenged == 2


def test_a_contact_must_sign() -> None:
    (node,) = Network(1).nodes
    there = endpoint_of(5)
    (sent,) = node.handle(Meet(there), 0.0)
    assert isinstance(sent, Transmit)
    ping = sent.message
    pong = Pong(ping.request, id_of(public_of(5)), public_of(5), bytes(16), 5001, bytes(64))
    assert node.handle(came(there, pong), 0.1) == []
    assert (len(node.table), node.counts.unexpected) == (0, 1)


def test_an_answer_that_comes_too_late_is_a_sign_of_life() -> None:
    network = Network(2)
    network.join(1.0)
    node, there = network.nodes[0], endpoint_of(1)
    network.alive[1] = False
    sent = node.handle(Seek(1, KEY, 8), network.now)
    find = next(one.message for one in sent if isinstance(one, Transmit))
    now = network.now
    member = node.table.get(network.nodes[1].id)
    assert member is not None
    while not member.failures:
        now = node.next_deadline()
        node.handle(Tick(), now)
    late = Found(find.request, network.nodes[1].id, (), ())
    node.handle(came(there, late, now), now)
    assert (member.failures, member.seen) == (0, now)
    node.handle(came(there, late, now), now + 1)
    assert member.seen == now, "once"


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    (node,) = Network(1).nodes
    there = endpoint_of(5)
    lies = (Place(b"x" * 20, there.ip, 1),)
    assert node.handle(came(there, Found(bytes(8), b"s" * 20, lies, ())), 0.0) == []
    assert node.handle(came(there, Ping(bytes(8), node.id, NO_TOKEN)), 0.0) == [], "one's own words"
    assert node.counts.unexpected == 2


def test_false_records_and_false_neighbours() -> None:
    """A neighbour answers with records that are badly signed, of another key, run out, or taken back."""
    network = Network(2)
    network.join(1.0)
    node, there = network.nodes[0], endpoint_of(1)
    network.alive[1] = False
    now = network.now
    sent = node.handle(Seek(1, KEY, 8), now)
    find = next(one.message for one in sent if isinstance(one, Transmit))
    good = record_of(7, KEY, EPOCH + now)
    bad = (
        Held(record_of(8, b"o" * 20, EPOCH + now), there.ip),
        Held(record_of(9, KEY, EPOCH + now - LIFE), there.ip),
        Held(record_of(10, KEY, EPOCH + now, port=0), there.ip),
        Held(good.__class__(*(getattr(good, f) for f in good.__struct_fields__[:-1]), bytes(64)), there.ip),
    )
    nowhere = (Place(b"x" * 20, b"\xe0\0\0\1", 1), Place(b"y" * 20, there.ip, 1))
    found = Found(find.request, network.nodes[1].id, nowhere, (*bad, Held(good, b"")))
    actions = node.handle(came(there, found, now), now + 0.01)
    assert [one for one in actions if isinstance(one, Discovered)] == [
        Discovered(1, (Held(good, there.ip),))
    ], "a provider that keeps its own record is where it answers from"
    asked = [one.endpoint for one in actions if isinstance(one, Transmit)]
    assert asked == [Endpoint(there.ip, 1)], "multicast is not"


def test_abandoned_lookups_go_on_for_nobody() -> None:
    network = Network(10)
    network.join()
    node = network.nodes[0]
    node.handle(Seek(1, KEY, 8), network.now)
    assert node.handle(Abandon(1), network.now) == []
    assert not node.searches.running


def test_a_provider_out_of_reach_of_all_keeps_its_record_itself() -> None:
    (node,) = Network(1).nodes
    actions = node.handle(Provide(1, record_of(0, KEY), EPOCH), 0.0)
    assert actions == [Ended(1, 0, 0.0, 0)]
    assert len(node.records) == 1
    assert node.handle(Tick(), node.next_deadline()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_made_to_send_more_than_was_sent_to_him(seed: int) -> None:
    """Amplification: whoever never proves an address gets no more bytes there than were sent in its name."""
    network = Network(20, seed=seed)
    network.join(20.0)
    network.provide(1, KEY)
    network.bytes_out.clear()
    victim, sent = Endpoint(b"\xc0\xa8\0\1", 9), 0
    for number in range(300):
        request: Ping | Find = Ping(network.rng.randbytes(8), b"s" * 20, NO_TOKEN)
        if number % 2:
            request = Find(network.rng.randbytes(8), b"s" * 20, network.rng.randbytes(16), KEY, True)
        event = came(victim, request, network.now)
        sent += event.size
        network.do(network.rng.randrange(20), event)
    network.run(network.now + 10)
    assert network.bytes_out[victim] <= sent
