"""The watch sees what it watches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm.schedule import MOST_REQUESTS
from p2p.sim.scenario import SMALL, Scenario
from p2p.sim.world import World

if TYPE_CHECKING:
    from p2p.sim.node import Node


@pytest.fixture
def node() -> Node:
    world = World(Scenario("watch", 3, size=SMALL))
    world.begin()
    world.heap.run(0.3, lambda: False)
    return world.nodes[0]


def test_a_chunk_that_is_lost_or_came_from_nowhere(node: Node) -> None:
    node.world.check(node)
    node.bits ^= 1
    with pytest.raises(AssertionError, match="differ"):
        node.world.check(node)


def test_a_question_for_what_is_held(node: Node) -> None:
    held = (node.bits & -node.bits).bit_length() - 1
    with pytest.raises(AssertionError, match="which it has"):
        node.world.asked(node, None, act.Request(1, None, held, 1))


def test_a_question_asked_twice_without_cause(node: Node) -> None:
    chunk = next(index for index in range(64) if not node.bits >> index & 1)
    swarm = node.swarm
    for _ in range(2):
        swarm.requests.add("x", chunk, 1, node.world.heap.now)
    with pytest.raises(AssertionError, match=r"without cause|asks 3 times"):
        node.world.asked(node, None, act.Request(1, None, chunk, 1))


def test_too_much_asked_of_one_peer_and_one_that_is_let_go_in_the_same_breath(node: Node) -> None:
    chunk = next(index for index in range(64) if not node.bits >> index & 1)
    peer = next(iter(node.swarm.peers.values()))
    asked = act.Request(1, peer.provider, chunk, 1)
    peer.requests = MOST_REQUESTS + 1
    with pytest.raises(AssertionError, match="too much of one"):
        node.world.asked(node, node.world.peers[peer.provider.node], asked)
    node.swarm.members.drop(peer.provider.node, node.world.heap.now)
    node.world.asked(node, node.world.peers[peer.provider.node], asked)


def test_a_wrong_byte_in_a_complete_blob_is_counted(node: Node) -> None:
    node.bits, node.done = (1 << 64) - 1, True
    node.world.invariants.ended(node)
    assert node.world.invariants.bad == 0
    node.wrong[3] = b"false"
    node.world.invariants.ended(node)
    assert node.world.invariants.bad == 1
    node.bits -= 1
    with pytest.raises(AssertionError, match="lost a chunk"):
        node.world.invariants.ended(node)
