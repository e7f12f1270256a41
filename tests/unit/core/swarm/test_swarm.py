from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p.core.swarm import events as ev
from p2p.core.swarm.actions import OpenOrigin
from p2p.core.swarm.midstates import Midstates
from tests.support.swarm_net import Blob, Net, link


def all_done(net):
    assert {n: repr(o.failed) for n, o in net.nodes.items() if o.alive and not o.done} == {}
    assert net.bad == 0
    return net


def accused(net):
    return {name for node in net.nodes.values() for name, _ in node.accused}


@pytest.mark.parametrize("count", [1, 2, 5, 64, 200])
@pytest.mark.parametrize("nodes", [1, 4, 8])
def test_cold_at_once_takes_one_copy_from_the_origin(count, nodes):
    net = Net(Blob(count))
    for i in range(nodes):
        net.add(f"n{i}", foreground=i % 2 == 0)
    all_done(net.run())
    assert net.egress == count


def test_unknown_size_is_learned_from_the_origin_or_a_provider():
    net = Net(Blob(7))
    net.add("n0", size=0)
    net.add("n1", size=0)
    all_done(net.run())
    assert net.egress == 7


def test_three_seeders_and_no_origin():
    net = Net(Blob(100), origin=False)
    for i in range(3):
        net.seed(f"s{i}")
    node = net.add("n0")
    all_done(net.run())
    assert net.egress == 0
    assert node.swarm.hedges <= 3


def test_origin_dead_and_nobody_has_it_fails_with_the_origins_error():
    net = Net(Blob(10), origin=False)
    node = net.add("n0")
    net.run(60)
    assert "down" in str(node.failed)
    assert net.now < 5


@pytest.mark.parametrize("seed", range(8))
def test_a_seeder_killed_in_the_middle(seed):
    net = Net(Blob(120), seed)
    net.seed("s0")
    for i in range(3):
        net.add(f"n{i}")
    net.at(0.3, net.kill, "s0")
    all_done(net.run())


@pytest.mark.parametrize("seed", range(8))
def test_the_lease_holder_killed_in_the_middle(seed):
    net = Net(Blob(120), seed)
    for i in range(4):
        net.add(f"n{i}")
    net.at(0.6, lambda: net.kill(net.lease))
    all_done(net.run())
    assert net.egress <= 125


def test_a_resumed_partial_asks_for_the_rest_only():
    blob = Blob(50)
    net = Net(blob)
    net.add("n0", have=range(40), midstates=blob.full.prefix(40))
    all_done(net.run())
    assert net.egress == 10


def evil_chunks(blob):
    return [b"evil" + c for c in blob.chunks]


@pytest.mark.parametrize("seed", range(10))
def test_a_peer_that_sends_wrong_bytes_is_struck_and_nothing_bad_is_kept(seed):
    blob = Blob(80)
    net = Net(blob, seed)
    net.seed("liar", chunks=evil_chunks(blob))
    net.seed("s0")
    net.seed("s1")
    net.add("n0")
    all_done(net.run())
    assert accused(net) <= {"liar"}
    assert net.egress == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_false_list_with_matching_bytes_falls(seed):
    blob = Blob(60)
    evil = list(blob.chunks)
    evil[3] = b"evil"
    # Evil up to chunk 29, the true tail after it: the link between them can't hold.
    false = Midstates("sha256", blob.listed(evil).states[: 30 * 32] + blob.full.states[30 * 32 :])
    net = Net(blob, seed)
    net.seed("liar", chunks=evil, midstates=false)
    net.seed("s0")
    net.seed("s1")
    net.add("n0")
    net.add("n1")
    all_done(net.run())
    assert accused(net) <= {"liar"}


def test_a_false_list_alone_falls_back_to_the_origin():
    blob = Blob(60)
    evil = list(blob.chunks)
    evil[3] = b"evil"
    false = Midstates("sha256", blob.listed(evil).states[: 30 * 32] + blob.full.states[30 * 32 :])
    net = Net(blob)
    net.seed("liar", chunks=evil, midstates=false)
    net.add("n0")
    all_done(net.run())
    assert accused(net) == {"liar"}


def test_a_peer_that_stalls_is_left_alone():
    net = Net(Blob(60))
    net.seed("mute", mute=True)
    net.seed("s0")
    net.add("n0")
    all_done(net.run())
    assert net.now < 10


def test_a_lone_stalling_provider_is_replaced_by_the_origin():
    net = Net(Blob(20))
    net.seed("mute", mute=True)
    net.add("n0")
    all_done(net.run())
    assert net.egress == 20
    assert net.now < 15


def test_without_a_tracker_claims_wait_for_peers_that_help():
    net = Net(Blob(40), tracker=False)
    net.seed("s0")
    net.add("n0")
    all_done(net.run())
    assert net.egress == 0


def test_nothing_is_given_early_while_lists_disagree():
    blob = Blob(10)
    net = Net(blob, origin=False)
    node = net.add("n0")
    net.run(0.01)
    swarm = node.swarm
    providers = (net.provider("a"), net.provider("b"))
    swarm.handle(ev.Planned(providers, ev.LeaseState.NONE), 1.0)
    for name in "ab":
        swarm.handle(ev.PeerState(name, blob.size, complete=True), 1.0)
    swarm.handle(ev.PeerMidstates("a", 0, blob.full.states, blob.full.list_id()), 1.0)
    assert not swarm.disputed
    other = Midstates("sha256", b"x" * 32)
    swarm.handle(ev.PeerMidstates("b", 0, other.states, other.list_id()), 1.0)
    assert swarm.disputed
    assert not swarm.readable(0)


def test_the_last_chunk_is_withheld_until_the_chain_closes():
    blob = Blob(3)
    net = Net(blob)
    node = net.add("n0", have=[0, 2], midstates=blob.full)
    while not node.swarm.closed:
        assert not node.swarm.readable(2)
        net.now, _, call, args = __import__("heapq").heappop(net.heap)
        call(*args)
    assert node.swarm.readable(2)


def test_readers_gone_for_the_grace_period_dissolve_it():
    net = Net(Blob(200), rate=10.0)
    node = net.add("n0")
    net.run(0.5)
    net.post(node, ev.ReaderLeft(1))
    net.run(8.0)
    assert node.done
    assert not node.swarm.closed


def test_a_list_too_long_or_cut_is_an_offence():
    blob = Blob(4)
    net = Net(blob)
    node = net.add("n0")
    net.run(0.01)
    node.swarm.handle(ev.Planned((net.provider("a"),), ev.LeaseState.NONE), 1.0)
    node.swarm.handle(ev.PeerState("a", blob.size, complete=True), 1.0)
    actions = node.swarm.handle(ev.PeerMidstates("a", 0, b"x" * 128, b""), 1.0)
    assert any(type(a).__name__ == "Accuse" for a in actions)


def test_the_origins_wrong_content_is_the_origins_fault():
    blob = Blob(4)
    net = Net(blob)
    node = net.add("n0")
    blob.chunks[2] = b"damaged"
    net.run()
    assert "does not have this digest" in str(node.failed)


def test_a_lost_lease_stops_the_stream():
    net = Net(Blob(50))
    node = net.add("n0")
    net.run(0.1)
    assert node.swarm.turn.streaming
    actions = node.swarm.handle(ev.LeaseLost(net.epoch), net.now)
    assert [type(a).__name__ for a in actions][:1] == ["CloseOrigin"]
    assert not any(isinstance(a, OpenOrigin) for a in actions)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 5),
    st.lists(st.sampled_from(["honest", "bytes", "list", "mute", "half"]), max_size=5),
    st.booleans(),
)
def test_any_mix_of_peers_ends_with_the_right_bytes(seed, count, nodes, kinds, tracker):
    blob = Blob(count)
    net = Net(blob, seed, tracker=tracker)
    for i, kind in enumerate(kinds):
        name = f"{kind}{i}"
        if kind == "bytes":
            net.seed(name, chunks=evil_chunks(blob))
        elif kind == "list":
            states = b"".join(link(bytes([i]), b"%d" % n) for n in range(count - 1))
            net.seed(name, midstates=Midstates("sha256", states))
        elif kind == "mute":
            net.seed(name, mute=True)
        elif kind == "half":
            net.seed(name, have=range(0, count, 2), complete=False)
        else:
            net.seed(name)
    for i in range(nodes):
        net.add(f"n{i}", foreground=(seed + i) % 2 == 0)
    all_done(net.run())
    assert not {n for n in accused(net) if n.startswith(("honest", "half", "n"))}
