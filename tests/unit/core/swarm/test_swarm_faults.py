"""Swarms among liars, deserters and failures: no wrong byte, nobody honest accused, never stuck.

Chunks are slow here (one takes about a second), so that a small blob takes as long as a large one
does in earnest and time-outs of seconds weigh as they do there.
"""

from __future__ import annotations

import random
from statistics import median

import pytest

from p2p.core.swarm import events as ev
from p2p.core.swarm.midstates import Midstates
from tests.support.swarm_net import Blob, Net, link

COUNT = 16
RATE = 1.0
SEEDS = 500
KINDS = ("bytes", "list", "stump", "silent", "unmet", "mute", "slow", "size")


def liar(net, name, kind, rng):
    """Add a hostile peer: each claims the whole blob."""
    blob = net.blob
    evil = [b"%s %d" % (name.encode(), rng.random() * 1e9) + c for c in blob.chunks]
    if kind == "bytes":
        net.seed(name, chunks=evil)
    elif kind == "list":
        # Its bytes hold under its list up to the true tail.
        false = blob.listed(evil).states
        turn = rng.randrange(blob.count - 1) + 1
        net.seed(
            name,
            chunks=evil,
            midstates=Midstates("sha256", false[: turn * 32] + blob.full.states[turn * 32 :]),
        )
    elif kind == "stump":
        # Its list ends early, so that the link that would give it away never comes.
        net.seed(name, chunks=evil, midstates=blob.listed(evil).prefix(blob.count // 2))
    elif kind == "silent":
        net.seed(name, midstates=None)
    elif kind == "unmet":
        net.seed(name, unmet=True)
    elif kind == "mute":
        net.seed(name, mute=True)
    elif kind == "slow":
        net.seed(name, slow=20.0)
    elif kind == "size":
        net.seed(name, size=blob.size + rng.randrange(blob.size))
    else:
        raise AssertionError(kind)


def swarm_of(seed, *, nodes, hostile, honest, kinds=KINDS, origin=False, tracker=True):
    rng = random.Random(seed)
    net = Net(Blob(COUNT), seed, origin=origin, rate=RATE, tracker=tracker)
    peers = [(f"liar{i}", rng.choice(kinds)) for i in range(hostile)] + [(f"s{i}", "") for i in range(honest)]
    rng.shuffle(peers)  # so that liars are met first as often as last
    for name, kind in peers:
        if kind:
            liar(net, name, kind, rng)
        else:
            net.seed(name)
    for i in range(nodes):
        net.add(f"n{i}", foreground=rng.random() < 0.5)
    return net


def check(net):
    """Every living node has the blob, as it is; nobody honest was accused."""
    unfinished = {n: repr(o.failed) for n, o in net.nodes.items() if o.alive and not o.done}
    assert unfinished == {}, net.now
    assert net.bad == 0
    accused = {name for node in net.nodes.values() for name, _ in node.accused}
    assert not {n for n in accused if not n.startswith("liar")}
    return net


def times(net):
    return [node.ended - node.began for node in net.nodes.values() if node.alive]


def median_time(net):
    return median(times(check(net.run())))


@pytest.fixture(scope="module")
def honest_time():
    """By whether there is an origin and no seeder: the median time among honest peers alone."""
    return {
        origin: median(
            median_time(swarm_of(seed, nodes=5, hostile=0, honest=0 if origin else 2, origin=origin))
            for seed in range(10)
        )
        for origin in (False, True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("origin", [False, True], ids=["two seeders", "origin alone"])
def test_thirty_percent_hostile(origin, honest_time):
    """Three of eight to ten lie: no wrong byte, nobody honest accused, at most twice the time."""
    honest = 0 if origin else 2
    taken = [
        median_time(swarm_of(seed, nodes=5, hostile=3, honest=honest, origin=origin))
        for seed in range(origin, SEEDS, 2)
    ]
    assert median(taken) <= 2 * honest_time[origin]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_liar_among_two_seeders(kind, honest_time):
    taken = [median_time(swarm_of(seed, nodes=5, hostile=3, honest=2, kinds=(kind,))) for seed in range(8)]
    assert median(taken) <= 2 * honest_time[False]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, ""])
def test_ninety_percent_hostile_one_honest_seeder_and_no_origin(kind):
    for seed in range(8):
        net = swarm_of(seed, nodes=1, hostile=9, honest=1, kinds=(kind,) if kind else KINDS)
        check(net.run(60))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tracker", [True, False])
def test_liars_alone_and_an_origin(kind, tracker):
    net = swarm_of(1, nodes=2, hostile=3, honest=0, kinds=(kind,), origin=True, tracker=tracker)
    check(net.run(90))


@pytest.mark.parametrize("kind", KINDS)
def test_liars_alone_and_no_origin_end_in_an_error(kind):
    """Peers that can't be asked again for ever: the reader is told, in a time that a person waits."""
    net = swarm_of(2, nodes=1, hostile=3, honest=0, kinds=(kind,)).run(120)
    (node,) = net.nodes.values()
    assert kind == "slow" or node.failed is not None
    assert kind != "slow" or node.done


@pytest.mark.parametrize("seed", range(6))
def test_a_claimed_size_is_no_proof_against_honest_peers(seed):
    """Nobody said how large it is, and a liar answers first: it ends, and nobody honest is accused."""
    net = Net(Blob(COUNT), seed, origin=False, rate=RATE)
    liar(net, "liar0", "size", random.Random(seed))
    net.seed("s0")
    node = net.add("n0", size=0)
    net.run(60)
    assert node.done or node.failed
    assert {name for name, _ in node.accused} <= {"liar0"}


# ── churn ──────────────────────────────────────────────────────────────────────────────────────────


def kill_some(net, rng, names, *, back):
    """Kill nodes at random times; where ``back``, each returns with what its disk holds."""
    for name in names:
        at = rng.uniform(0.1, 6.0)
        net.at(at, net.kill, name)
        if back:
            net.expected += 1
            net.at(at + rng.uniform(0.1, 3.0), returned, net, name)


def returned(net, name):
    net.expected -= 1
    net.restart(name)


@pytest.mark.parametrize("seed", range(24))
def test_nodes_are_killed_at_random_times(seed):
    rng = random.Random(seed)
    net = swarm_of(seed, nodes=6, hostile=0, honest=seed % 2, origin=True, tracker=seed % 3 > 0)
    kill_some(net, rng, rng.sample(sorted(net.nodes), 3), back=False)
    check(net.run(120))


@pytest.mark.parametrize("seed", range(24))
def test_killed_nodes_come_back_with_the_chunks_they_had(seed):
    rng = random.Random(seed)
    net = swarm_of(seed, nodes=6, hostile=seed % 3, honest=1, origin=seed % 2 == 0)
    kill_some(net, rng, rng.sample(sorted(net.nodes), 3), back=True)
    check(net.run(120))
    assert all(node.done for node in net.nodes.values())


@pytest.mark.parametrize("seed", range(12))
def test_what_a_restarted_node_had_is_not_fetched_again(seed):
    net = Net(Blob(COUNT), seed, rate=RATE)
    net.add("n0")
    net.expected = 1
    at = 0.5 + 0.5 * seed
    net.at(at, net.kill, "n0")
    net.at(at + 0.5, returned, net, "n0")
    check(net.run(60))
    assert net.egress <= COUNT + 1


@pytest.mark.parametrize("seed", range(16))
def test_the_last_seeder_dies_in_the_middle(seed):
    """The union may be whole; else the origin has the rest."""
    net = swarm_of(seed, nodes=4, hostile=0, honest=1, origin=True)
    net.at(random.Random(seed).uniform(0.2, 3.0), net.kill, "s0")
    check(net.run(60))
    assert net.egress <= COUNT


# ── failing helpers ────────────────────────────────────────────────────────────────────────────────


def lose_tracker(net):
    net.tracker = False


@pytest.mark.parametrize("seed", range(16))
def test_the_tracker_is_lost_midway(seed):
    rng = random.Random(seed)
    net = swarm_of(seed, nodes=6, hostile=seed % 3, honest=seed % 2, origin=True)
    net.at(rng.uniform(0.0, 5.0), lose_tracker, net)
    check(net.run(120))


def set_origin(net, up):
    net.origin_up = up


@pytest.mark.parametrize("seed", range(24))
def test_the_origin_fails_at_random_moments(seed):
    rng = random.Random(seed)
    net = swarm_of(seed, nodes=5, hostile=0, honest=0, origin=True, tracker=seed % 2 == 0)
    for _ in range(6):
        at = rng.uniform(0.0, 10.0)
        net.at(at, set_origin, net, False)
        net.at(at + rng.uniform(0.05, 0.5), set_origin, net, True)
    check(net.run(120))


@pytest.mark.parametrize("seed", range(12))
def test_the_origin_dies_after_one_copy(seed):
    net = swarm_of(seed, nodes=1, hostile=0, honest=0, origin=True)
    check(net.run())
    net.origin_up = False
    for i in range(1, 6):
        net.add(f"n{i}")
    check(net.run(60))
    assert net.egress == COUNT


# ── readers ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(24))
def test_readers_come_and_go(seed):
    """A client's leaving harms nobody; a node without a reader for its grace period lets go."""
    rng = random.Random(seed)
    net = swarm_of(seed, nodes=5, hostile=2, honest=1, origin=True)
    for node in net.nodes.values():
        for reader in range(2, 5):
            start = rng.randrange(net.blob.size)
            at = rng.uniform(0.0, 6.0)
            joined = ev.ReaderJoined(reader, start, rng.randrange(start, net.blob.size) + 1)
            net.at(at, net.post, node, joined)
            net.at(at + 0.4, net.post, node, ev.ReaderMoved(reader, start + rng.randrange(1 << 22)))
            net.at(at + rng.uniform(0.5, 6.0), net.post, node, ev.ReaderLeft(reader))
        if rng.random() < 0.5:
            net.at(rng.uniform(0.0, 2.0), net.post, node, ev.ReaderLeft(1))
    check(net.run(120))


# ── races ──────────────────────────────────────────────────────────────────────────────────────────


def honest_follower(net):
    """A node and a peer that still grows; both go by the same list."""
    blob = net.blob
    node = net.add("n0")
    net.run(0.01)
    swarm = node.swarm
    net.perform(node, swarm.handle(ev.Planned((net.provider("a"),), ev.LeaseState.NONE), net.now))
    swarm.handle(ev.PeerState("a", blob.size, complete=False, have=b"\xff"), net.now)
    false = blob.listed([b"evil" + chunk for chunk in blob.chunks])
    actions = swarm.handle(
        ev.PeerMidstates("a", 0, false.states[: 32 * 8], false.prefix(8).list_id()), net.now
    )
    request = next(a for a in actions if type(a).__name__ == "Request")
    return node, swarm, request


def failed(request):
    return ev.ChunksTaken(request.request, request.first, (False,) * request.count, 0.1, last=True)


def accusations(actions):
    return [a for a in actions if type(a).__name__ == "Accuse"]


def test_a_growing_peer_whose_list_fell_on_the_way_is_not_accused():
    net = Net(Blob(COUNT), origin=False)
    _, swarm, request = honest_follower(net)
    assert not accusations(swarm.handle(failed(request), 1.0))
    assert swarm.next_deadline() <= 3.0
    full = net.blob.full
    assert not accusations(swarm.handle(ev.PeerMidstates("a", 0, full.states, full.list_id()), 1.1))
    assert not accusations(swarm.handle(ev.Tick(), 9.0))
    assert "a" in swarm.peers


def test_a_growing_peer_that_stands_by_its_list_is_accused():
    net = Net(Blob(COUNT), origin=False)
    _, swarm, request = honest_follower(net)
    assert not accusations(swarm.handle(failed(request), 1.0))
    assert swarm.offered_by(swarm.peers["a"]) == 0
    (accused,) = accusations(swarm.handle(ev.Tick(), 3.0))
    assert accused.chunk == request.first
    assert "a" not in swarm.peers


def test_claims_that_no_list_ever_follows_do_not_hold_up_a_node_without_a_tracker():
    net = Net(Blob(COUNT), origin=True, tracker=False)
    for i in range(3):
        net.seed(f"liar{i}", midstates=None)
    net.add("n0")
    check(net.run(20))


def test_stumps_of_lists_do_not_hold_up_a_node_for_ever():
    """Each time another stump: none is gone by twice, and the origin's word is the last one."""
    net = Net(Blob(COUNT), 3, rate=RATE)
    rng = random.Random(3)
    for i in range(6):
        liar(net, f"liar{i}", "stump", rng)
        net.seeders[f"liar{i}"].complete = False
    net.add("n0")
    check(net.run(120))


def test_a_list_of_one_state_a_message_still_anchors():
    """States may come one by one; a liar's link is found as early as the honest list allows."""
    blob = Blob(COUNT)
    net = Net(blob, origin=False)
    node = net.add("n0")
    net.run(0.01)
    swarm = node.swarm
    swarm.handle(ev.Planned((net.provider("a"),), ev.LeaseState.NONE), 1.0)
    swarm.handle(ev.PeerState("a", blob.size, complete=True), 1.0)
    for length in range(1, COUNT):
        part = blob.full.states[32 * (length - 1) : 32 * length]
        commit = blob.full.prefix(length).list_id()
        swarm.handle(ev.PeerMidstates("a", length - 1, part, commit), 1.0)
    assert swarm.lists.adopted == blob.full
    assert link(blob.full.state(COUNT - 1), blob.chunks[-1]).hex() == blob.digest.hex


def test_a_doubted_peers_requests_are_counted_once():
    net = Net(Blob(COUNT), origin=False)
    _, swarm, request = honest_follower(net)
    swarm.handle(failed(request), 1.0)
    assert swarm.peers["a"].requests == 0
    assert not swarm.requests.pending
