"""Who is asked for what, and who stands in when an answer is late."""

from __future__ import annotations

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.members import BUSY_SECONDS
from p2p.core.swarm.peer import REFUSED_LIMIT
from p2p.core.swarm.requests import FIRST_HEDGE
from p2p.core.swarm.schedule import DRIP_SECONDS, ENDGAME, MOST_REQUESTS
from p2p.core.swarm.settings import SwarmSettings
from tests.support.swarm_rig import Rig, states

COUNT = 40
FULL = states(COUNT)


def background(rig: Rig) -> None:
    """No client waits: everything is wanted alike."""
    rig(ev.ReaderJoined(1, 0, rig.count * MIB, background=True))


def anchored(rig: Rig, *have: int) -> None:
    """The last link holds: the list is no stranger's any more."""
    rig.swarm.have = Bitfield(rig.count, {*have, rig.count - 1})


def measured(rig: Rig, rate: float) -> None:
    for peer in rig.swarm.peers.values():
        peer.rate = rate


def test_nothing_is_asked_of_whom_it_was_not_claimed() -> None:
    rig = Rig(COUNT)
    rig.follower("a", FULL, Bitfield(COUNT, [3, 4, 39]))
    assert set(rig.asked["a"]) <= {3, 4, 39}
    rig.follower("b", FULL.prefix(6), Bitfield(COUNT, [5, 6, 7]))
    assert set(rig.asked["b"]) <= {5}, "links 6 and on are not in its list"


def test_nothing_is_asked_twice_without_need() -> None:
    rig = Rig(COUNT)
    for name in "abcd":
        rig.seeder(name)
    asked = [index for chunks in rig.asked.values() for index in chunks]
    assert len(asked) == len(set(asked))
    rig.tick(0.1)
    assert not rig.of(act.Request)


def test_a_strangers_list_is_believed_by_and_by() -> None:
    """At most four chunks rest on an unproven list at first, one more for each that holds."""
    rig = Rig(COUNT, run=MIB)
    for name in "abcdef":
        rig.seeder(name)
    assert rig.swarm.requests.bits.bit_count() == 4
    first = next(r for r in rig.swarm.requests.pending.values() if COUNT - 1 not in r.missing)
    rig.take(act.Request(first.request, None, first.first, first.count))
    assert rig.swarm.requests.bits.bit_count() == 5


def test_the_last_chunk_is_asked_first_it_anchors_the_list() -> None:
    rig = Rig(COUNT)
    rig.seeder("a")
    first, second = rig.of(act.Request)
    assert (first.first, first.count) == (COUNT - 1, 1)
    assert (second.first, second.count) == (0, 1), "the client waits for this one"


def test_readers_far_apart_have_their_turns() -> None:
    """containerd reads a layer by many open-ended ranges at once: none may wait until another one ends."""
    rig = Rig(200)
    for number, start in ((2, 50), (3, 100), (4, 150)):
        rig(ev.ReaderJoined(number, start * MIB, 200 * MIB))
    rig.seeder("a")
    anchored(rig)
    measured(rig, 2.0 * MIB)
    rig.tick(0.1)
    positions = {1: 0, 2: 50, 3: 100, 4: 150}
    for turn in range(40):
        rig.now += 0.1
        pending = next(iter(rig.swarm.requests.pending.values()))
        rig.take(act.Request(pending.request, None, pending.first, pending.count), seconds=pending.count / 2)
        for number, at in positions.items():
            while at < 200 and at in rig.swarm.have:
                at += 1
            if at != positions[number]:
                positions[number] = at
                rig(ev.ReaderMoved(number, at * MIB))
        if turn == 12:
            assert all(at > start for at, start in zip(positions.values(), (0, 50, 100, 150), strict=True))
    read = [at - start for at, start in zip(positions.values(), (0, 50, 100, 150), strict=True)]
    assert max(read) <= 2 * min(read), read


def test_once_anchored_every_peers_window_is_filled() -> None:
    rig = Rig(COUNT)
    rig.seeder("a")
    rig.seeder("b")
    anchored(rig)
    measured(rig, 100.0 * MIB)
    rig.tick(0.1)
    for name in "ab":
        assert 2 <= rig.swarm.peers[name].requests <= 4


def test_a_waiting_client_gets_its_first_chunk_alone_and_first() -> None:
    rig = Rig(COUNT)
    rig.follower("a", FULL.prefix(20), Bitfield(COUNT, range(20)))
    first = rig.of(act.Request)[0]
    assert (first.first, first.count) == (0, 1)


def test_a_proven_fast_peer_gets_runs_and_a_stranger_single_chunks() -> None:
    rig = Rig(COUNT)
    background(rig)
    rig.seeder("fast")
    anchored(rig)
    rig.swarm.members.cancel_all()
    measured(rig, 100.0 * MIB)
    rig.tick(0.1)
    assert max(request.count for request in rig.of(act.Request)) == SwarmSettings().run // MIB
    rig.seeder("new")
    assert {request.count for request in rig.of(act.Request)} == {1}


def test_a_run_is_one_chunk_where_chunks_are_larger() -> None:
    rig = Rig(COUNT, run=MIB // 2)
    background(rig)
    rig.seeder("fast")
    anchored(rig)
    rig.swarm.members.cancel_all()
    measured(rig, 100.0 * MIB)
    rig.tick(0.1)
    assert {request.count for request in rig.of(act.Request)} == {1}


def test_the_rarest_is_asked_first() -> None:
    rig = Rig(COUNT, run=MIB)
    background(rig)
    rare = Bitfield(COUNT, [17, 23])
    for name in "abc":
        rig.follower(name, FULL, Bitfield(COUNT, [i for i in range(COUNT) if i not in (17, 23)]))
    rig.swarm.members.cancel_all()
    anchored(rig)
    rig.follower("rare", FULL, rare)
    assert sorted(rig.asked["rare"]) == [17, 23]


def late_request(rig: Rig) -> tuple[int, float]:
    """A lone peer's first request, and when it is late."""
    rig.seeder("slow")
    pending = next(iter(rig.swarm.requests.pending.values()))
    assert pending.late_at == rig.now + FIRST_HEDGE
    return pending.request, pending.late_at


def test_a_late_request_is_asked_of_another_and_the_first_answer_counts() -> None:
    rig = Rig(COUNT)
    number, due = late_request(rig)
    rig.plan("swift")
    rig(ev.PeerState("swift", COUNT * MIB, complete=True))
    rig.swarm.credit = 0  # no room for anything else
    rig.tell("swift", FULL)
    assert rig.swarm.next_deadline() == due
    rig.tick(due)
    chunk = rig.swarm.requests.pending[number].first
    stand_in = next(r for r in rig.of(act.Request) if r.first == chunk)
    assert stand_in.provider is not None
    assert stand_in.provider.node == "swift"
    assert rig.swarm.hedges >= 1
    rig.take(stand_in)
    assert number in [cancelled.request for cancelled in rig.of(act.Cancel)]
    assert rig.swarm.peers["slow"].overtaken == 1


def test_it_is_not_asked_of_one_that_is_late_too_nor_of_one_that_is_busy() -> None:
    rig = Rig(COUNT)
    late_request(rig)
    rig.seeder("other")
    rig.swarm.peers["other"].requests = MOST_REQUESTS
    rig.tick(FIRST_HEDGE)
    assert not [r for r in rig.of(act.Request) if r.provider and r.provider.node == "other"]


def test_of_two_late_ones_the_first_is_given_up_for_a_third_that_gets_more_time() -> None:
    rig = Rig(COUNT)
    number, due = late_request(rig)
    chunk = rig.swarm.requests.pending[number].first
    rig.swarm.credit = 0
    rig.seeder("second")
    rig.tick(due)
    rig.seeder("third")
    rig.tick(due + FIRST_HEDGE)
    holders = [rig.swarm.requests.pending[n] for n in rig.swarm.requests.by_chunk[chunk]]
    assert [one.peer for one in holders] == ["second", "third"]
    assert number in [cancelled.request for cancelled in rig.of(act.Cancel)]
    assert holders[1].late_at - rig.now >= 2 * (rig.now - 0.0)


def test_who_is_overtaken_twice_is_left_alone() -> None:
    rig = Rig(COUNT, run=MIB)
    background(rig)
    rig.seeder("slow")
    rig.swarm.credit = 0
    rig.seeder("swift")
    for number in [p.request for p in rig.swarm.requests.pending.values() if p.peer == "slow"]:
        rig.swarm.requests.pending[number].late = True
        chunk = rig.swarm.requests.pending[number].first
        swift = rig.swarm.requests.add("swift", chunk, 1, rig.now)
        rig.take(act.Request(swift.request, None, chunk, 1))
    assert "slow" in [unlinked.provider.node for unlinked in rig.of(act.Unlink)]
    assert not rig.of(act.Accuse), "slow is no crime"


def test_while_a_peer_owes_an_answer_it_is_asked_only_for_what_no_other_has() -> None:
    rig = Rig(COUNT, run=MIB)
    background(rig)
    rig.seeder("slow")
    anchored(rig)
    for pending in rig.swarm.requests.pending.values():
        pending.late = True
    before = list(rig.asked["slow"])
    rig.follower("swift", FULL, Bitfield(COUNT, range(20)))
    more = set(rig.asked["slow"]) - set(before)
    assert all(index >= 20 for index in more)


def test_in_the_endgame_the_second_is_asked_after_half_the_time() -> None:
    """Nobody holds the last chunk for long; and the timer is set for it, no other event need come."""
    rig = Rig(COUNT)
    rig.seeder("slow")
    rig.swarm.members.cancel_all()
    missing = range(10, 10 + ENDGAME)
    rig.swarm.have = Bitfield(COUNT, [i for i in range(COUNT) if i not in missing])
    rig.tick(1.0)
    rig.seeder("swift")
    due = rig.swarm.next_deadline()
    assert due == 1.0 + FIRST_HEDGE / 2
    rig.tick(due)
    assert "swift" in rig.asked
    later = rig.swarm.next_deadline()
    assert later is not None
    assert later > due


@pytest.mark.parametrize("origin", [True, False])
def test_a_dripping_peer_gives_way_where_the_origin_can_be_asked(origin: bool) -> None:
    """Slow is better than nothing, so it stays where it is all there is."""
    rig = Rig(COUNT, origin=origin, run=MIB)
    background(rig)
    rig.follower("drip", FULL, Bitfield(COUNT, range(30, 39)))
    anchored(rig)
    for name in "ab":
        rig.follower(name, FULL, Bitfield(COUNT))
    for name in "ab":
        rig.swarm.peers[name].rate = 10.0 * MIB
    rig.tick(DRIP_SECONDS - 0.5)
    assert "drip" in rig.swarm.peers
    rig.tick(DRIP_SECONDS)
    assert ("drip" in rig.swarm.peers) is not origin
    assert not rig.of(act.Accuse)


def test_without_links_nothing_is_held_back() -> None:
    """Nothing can be verified by itself: neither a list nor a window of trust matters."""
    rig = Rig(COUNT, links=False)
    background(rig)
    rig.plan("a")
    rig(ev.PeerState("a", COUNT * MIB, complete=True))
    assert rig.asked["a"]


def test_what_our_own_limits_hold_is_neither_late_nor_dripping() -> None:
    rig = Rig(COUNT, run=MIB)
    background(rig)
    rig.follower("held", FULL, Bitfield(COUNT, range(30, 39)))
    anchored(rig)
    for name in "ab":
        rig.follower(name, FULL, Bitfield(COUNT))
        rig.swarm.peers[name].rate = 10.0 * MIB
    numbers = list(rig.swarm.requests.pending)
    assert numbers
    for number in numbers:
        rig(ev.RequestHeld(number, True))
    assert rig.swarm.next_deadline() is None, "nothing to wait for but our own limits"
    rig.tick(10 * DRIP_SECONDS)
    assert "held" in rig.swarm.peers
    assert not rig.of(act.Seek), "nor is anybody else asked"
    assert rig.swarm.hedges == 0
    for number in numbers:
        rig(ev.RequestHeld(number, False))
    assert not any(rig.swarm.requests.pending[number].late for number in numbers)
    assert rig.swarm.next_deadline() == rig.now + FIRST_HEDGE
    rig.tick(rig.now + DRIP_SECONDS)
    assert "held" not in rig.swarm.peers, "now it is the peer's time again"


def test_a_busy_peer_is_asked_again_and_keeps_what_it_is_sending() -> None:
    rig = Rig(COUNT, run=MIB)
    background(rig)
    rig.seeder("busy")
    anchored(rig)
    rig.swarm.credit = COUNT
    rig.tick(0.01)
    first, second = list(rig.swarm.requests.pending)[:2]
    rig(ev.RequestFailed(second, "503", busy=True))
    assert list(rig.swarm.requests.pending) == [first]
    assert rig.swarm.peers["busy"].requests == 1
    assert rig.swarm.members.busy["busy"] == rig.now + BUSY_SECONDS
    assert rig.swarm.next_deadline() is not None
    rig.tick(0.5)
    assert list(rig.swarm.requests.pending) == [first]
    rig.tick(0.01 + BUSY_SECONDS)
    assert len(rig.swarm.requests.pending) == 2


def test_who_only_ever_refuses_is_dropped() -> None:
    rig = Rig(COUNT, run=MIB)
    background(rig)
    rig.seeder("busy")
    for _ in range(REFUSED_LIMIT):
        assert "busy" in rig.swarm.peers
        rig.tick(rig.now + BUSY_SECONDS)
        for number in list(rig.swarm.requests.pending):
            rig(ev.RequestFailed(number, "503", busy=True))
    assert "busy" not in rig.swarm.peers
    assert not rig.of(act.Accuse)
