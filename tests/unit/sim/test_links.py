"""What peers tell each other of further ones, in a simulated crowd."""

from __future__ import annotations

from p2p.core.swarm import events as ev
from p2p.core.swarm.members import HINTED
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World, run

RING = Scenario("ring", 10, size=SMALL, tracker=False, known=1, exchange=True)


def test_a_crowd_that_each_know_one_other_meets_and_reads_one_copy() -> None:
    result = run(RING)
    assert (result.completed, result.copies, result.streams) == (10, 1.0, 1)
    assert run(RING).digest == result.digest
    assert result.makespan < 0.6 * run(RING.but(exchange=False)).makespan, "else each has few peers"


def test_those_who_are_met_are_known_by_their_address_alone() -> None:
    world = World(RING)
    world.begin()
    world.heap.run(0.25, lambda: False)
    for node in world.nodes:
        peers = node.swarm.peers
        assert len(peers) > 4
        assert sum(name.startswith(HINTED) for name in peers) >= len(peers) - 1
        assert len({world.peers[name].number for name in peers}) == len(peers), "nobody twice"
        assert all(peer.have is not None for peer in peers.values()), "what they say comes by that name"


def test_liars_that_are_met_so_are_found_out_too() -> None:
    result = run(RING.but(hostile=0.5, seeders=1, origin_down=((0.0, 1e9),), known=4))
    assert result.completed == 10
    assert (result.bad, result.banned_honest, result.accused_honest) == (0, 0, 0)


def test_of_one_that_died_nobody_is_told_any_more() -> None:
    world = World(RING.but(nodes=3, known=2, origin_down=((0.0, 1e9),)))
    world.begin()
    world.heap.run(0.3, lambda: False)
    first, second, third = world.nodes
    assert first.links.exchange is not None
    others = first.links.exchange.others
    assert {host for host, _ in others(world.content.name, "", ())} == {
        second.provider.host,
        third.provider.host,
    }
    world._dies(second)
    world.heap.run(0.4, lambda: False)
    assert {host for host, _ in others(world.content.name, "", ())} == {third.provider.host}


def test_what_comes_from_one_that_was_let_go_is_not_passed_on() -> None:
    world = World(RING.but(nodes=3, known=2))
    world.begin()
    world.heap.run(0.3, lambda: False)
    node = world.nodes[0]
    for name in list(node.swarm.peers):
        node.links.drop(name)
        node.links.told([ev.PeerState(name, world.content.size, complete=True)])
    assert all(not link.told.take() for link in node.links._accepted.values())
