"""Who is told what, and when."""

from __future__ import annotations

from functools import reduce
from operator import or_

from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World


def world(nodes: int = 12, until: float = 0.4, **changes: object) -> World:
    made = World(Scenario("node", nodes, size=SMALL).but(**changes))
    made.begin()
    made.heap.run(until, lambda: False)
    return made


def test_each_chunk_of_the_stream_goes_to_one_subscriber_first() -> None:
    made = world()
    holder = next(node for node in made.nodes if node.swarm.turn.streaming)
    told = [holder.teller.offer.told(watch.node.name) for watch in holder.teller.watches.values()]
    assert len(told) == 11
    heard_of = reduce(or_, told)
    assert sum(bits.bit_count() for bits in told) == heard_of.bit_count(), "each by one alone"
    assert holder.bits.bit_count() - heard_of.bit_count() < 8, "the latest will be told of soon"
    assert holder.teller.offer.seeding


def test_what_a_subscriber_knows_is_what_it_was_told() -> None:
    made = world()
    for node in made.nodes:
        for name, watch in node.teller.watches.items():
            peer = watch.node.swarm.peers.get(node.name)
            if peer is not None and peer.have is not None:
                assert peer.have.bits & ~node.bits == 0
                assert peer.have.bits & ~node.teller.offer.told(name) == 0


def test_of_its_last_chunk_a_node_tells_as_of_any_other() -> None:
    made = world(until=0.0)
    made.heap.run(5.0, lambda: any(node.done for node in made.nodes))
    (holder,) = (node for node in made.nodes if node.done)
    assert holder.teller.watches
    assert all(watch.told == "growing" for watch in holder.teller.watches.values()), (
        "and none is told nothing"
    )


def test_who_does_not_want_the_blob_yet_takes_subscribers_all_the_same() -> None:
    made = world(until=0.0, tracker=False, known=11, arrival=1.0)
    made.heap.run(0.5, lambda: False)
    later = [node for node in made.nodes if not node.begun]
    assert later
    for node in later:
        assert len(node.teller.watches) == 12 - len(later)
        assert all(watch.told == "absent" for watch in node.teller.watches.values())
