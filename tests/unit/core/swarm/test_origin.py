"""Whose turn it is at the origin, how often it is tried, and when it is given up."""

from __future__ import annotations

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.herald import LIFE, TRUST, weight
from p2p.core.swarm.midstates import Midstates
from p2p.core.swarm.origin import ATTEMPTS, CATCH_UP, FIRST_RETRY, HOLE_RUN, HOLES
from p2p.core.swarm.patience import FLOWING, PATIENCE, STALL
from p2p.core.wire.common import Provider
from p2p.errors import OriginNotFoundError, OriginUnreachableError
from tests.support.swarm_rig import DIGEST, Rig, states

COUNT = 8
TRUE = states(COUNT)
DOWN = OriginUnreachableError("hub", "no connection")


def fail(rig: Rig, at: float, *, final: bool = False, retry_after: float = 0.0) -> None:
    rig(ev.OriginFailed(DOWN, final=final, retry_after=retry_after), at)


def test_who_has_the_lease_streams_from_the_first_chunk() -> None:
    rig = Rig(COUNT)
    rig.grant(epoch=7)
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 7)]
    rig.grant(epoch=7)
    assert not rig.of(act.OpenOrigin), "one stream at a time"


def test_without_a_lease_nobody_streams() -> None:
    for lease in (ev.LeaseState.HELD, ev.LeaseState.NONE, ev.LeaseState.UNASKED):
        rig = Rig(COUNT)
        rig.plan(lease=lease)
        assert not rig.of(act.OpenOrigin)


def test_a_node_without_that_upstream_never_asks_it() -> None:
    rig = Rig(COUNT, origin=False)
    assert [seek.lease for seek in rig.of(act.Seek)] in ([], [False])
    rig.grant()
    assert not rig.of(act.OpenOrigin)
    rig.tick(PATIENCE + 1)
    assert not rig.of(act.OpenOrigin)


def test_an_unknown_size_is_learned_from_the_origin() -> None:
    rig = Rig(COUNT)
    rig.swarm.layout = rig.swarm.have = None
    rig.grant()
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 1)]
    rig(ev.OriginOpened(3 << 20))
    assert rig.of(act.Prepare) == [act.Prepare(3 << 20)]


def test_failures_are_tried_again_later_and_later_and_then_it_is_given_up() -> None:
    rig = Rig(COUNT)
    rig.grant()
    now = 1.0
    for attempt in range(ATTEMPTS - 1):
        fail(rig, now)
        assert not rig.of(act.OpenOrigin)
        due = rig.swarm.next_deadline()
        assert due is not None
        assert abs(due - (now + FIRST_RETRY * 2**attempt)) < 1e-9
        rig.tick(due)
        assert rig.of(act.OpenOrigin)
        now = due + 0.01
    fail(rig, now)
    assert [closed.done for closed in rig.of(act.CloseOrigin)] == [False]
    (failed,) = rig.of(act.Fail)
    assert failed.error is DOWN
    assert not failed.discard, "what was verified is kept"


def test_progress_between_two_failures_makes_them_first_ones() -> None:
    rig = Rig(COUNT)
    rig.grant()
    for index in range(5):
        fail(rig, index + 1.0)
        due = rig.swarm.next_deadline()
        assert due is not None
        rig.tick(due)
        assert [opened.first for opened in rig.of(act.OpenOrigin)] == [index]
        rig(ev.OriginAppended(index, 1, TRUE.prefix(index + 1)))
    assert not rig.swarm.over


def test_a_final_failure_is_believed_at_once() -> None:
    rig = Rig(COUNT)
    rig.grant()
    error = OriginNotFoundError("hub", "it has no such blob")
    rig(ev.OriginFailed(error, final=True), 1.0)
    assert [failed.error for failed in rig.of(act.Fail)] == [error]


def test_an_origin_that_limits_us_is_waited_for_or_left_to_others() -> None:
    rig = Rig(COUNT)
    rig.grant()
    fail(rig, 1.0, retry_after=1.5)
    assert rig.swarm.next_deadline() == 2.5
    rig = Rig(COUNT)
    rig.grant()
    rig.seeder("a")
    fail(rig, 1.0, retry_after=60.0)
    assert rig.of(act.CloseOrigin)
    assert not rig.of(act.Fail)


def test_with_peers_at_hand_the_origins_end_is_not_ours() -> None:
    rig = Rig(COUNT)
    rig.seeder("a")
    rig.grant()
    fail(rig, 1.0, final=True)
    assert not rig.of(act.Fail)
    rig(ev.PeerGone("a", "left"))
    assert [seek.lease for seek in rig.of(act.Seek)] in ([], [False]), "a lease is of no use to us now"
    rig.tick(PATIENCE + 5)
    assert [failed.error for failed in rig.of(act.Fail)] == [DOWN]


def test_a_new_lease_is_a_new_chance() -> None:
    rig = Rig(COUNT)
    rig.seeder("a")
    rig.grant(epoch=1)
    fail(rig, 1.0, final=True)
    rig(ev.PeerAbsent("a"))
    rig.grant(epoch=2)
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 2)] or rig.swarm.turn.granted


def test_a_lost_lease_closes_the_stream_and_only_its_own() -> None:
    rig = Rig(COUNT)
    rig.grant(epoch=4)
    rig(ev.LeaseLost(3))
    assert not rig.of(act.CloseOrigin)
    rig(ev.LeaseLost(4))
    assert rig.of(act.CloseOrigin) == [act.CloseOrigin(4, done=False)]
    assert not rig.swarm.turn.granted
    rig.tick(0.1)
    assert not rig.of(act.OpenOrigin)


def test_a_trackers_word_ends_a_claim_made_without_it() -> None:
    rig = Rig(COUNT)
    rig.grant(epoch=0, exclusive=False)
    assert rig.of(act.OpenOrigin)
    rig.plan(lease=ev.LeaseState.HELD)
    assert [closed.done for closed in rig.of(act.CloseOrigin)] == [False]


def test_a_claim_without_a_tracker_waits_while_peers_have_something_for_us() -> None:
    rig = Rig(COUNT)
    rig.plan("a")
    rig(ev.PeerState("a", COUNT << 20, complete=True))
    rig.grant(epoch=0, exclusive=False)
    assert not rig.of(act.OpenOrigin)
    rig(ev.PeerGone("a", "left"))
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 0)]


def test_such_a_claim_does_not_wait_for_ever() -> None:
    """A peer that claims all and gives nothing must not keep us from the origin."""
    rig = Rig(COUNT)
    rig.follower("tease", Midstates("sha256"), Bitfield.full(COUNT))
    rig.grant(epoch=0, exclusive=False)
    assert not rig.of(act.OpenOrigin)
    rig.tick(STALL)
    rig.tick(PATIENCE)
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 0)]


def test_nobody_waits_for_ever_for_a_lease() -> None:
    rig = Rig(COUNT)
    rig.plan(lease=ev.LeaseState.HELD)
    rig.tick(STALL)
    assert rig.of(act.Seek)
    rig.tick(PATIENCE)
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 0)]


def holding(rig: Rig, *have: int) -> None:
    """The list is full, and chunks are missing that no peer has."""
    rig.swarm.have = Bitfield(rig.count, have)
    rig.swarm.lists.adopted, rig.swarm.lists.own = states(rig.count), False


def stalled(rig: Rig, *names: str) -> None:
    """They have claimed everything for a while and gave nothing."""
    for name in names:
        rig.seeder(name)
    rig.tick(STALL + 1)
    (seek,) = rig.of(act.Seek)
    assert seek.lease
    assert seek.unreachable == frozenset(names)


def test_a_lease_for_want_of_progress_counts_on_nobody_who_claims_everything() -> None:
    rig = Rig(20)
    stalled(rig, "mute", "liar")
    rig.grant(epoch=5)
    begun = 2  # these two are still asked of them
    assert [(one.provider, one.first) for one in rig.of(act.Request)] == [
        (None, begun),
        (None, begun + HOLE_RUN),
    ]
    first, _ = rig.of(act.Request)
    rig.take(first)
    assert [(one.provider, one.first) for one in rig.of(act.Request) if one.provider is None] == [
        (None, begun + 2 * HOLE_RUN)
    ]
    assert rig.of(act.KeepLease) == [act.KeepLease(5, HOLE_RUN * MIB)], "it is of use: nobody is to steal it"
    assert rig.swarm.feeds
    assert rig.swarm.spread == 0, "what they claim has not spread"


def test_such_a_lease_leaves_out_what_others_gather() -> None:
    rig = Rig(20)
    stalled(rig, "mute")
    rig.follower("b", states(20), Bitfield(20, range(6)))
    rig.grant(epoch=5)
    assert [one.first for one in rig.of(act.Request) if one.provider is None] == [6, 10]
    assert rig.swarm.spread == 0b111111


def test_any_other_lease_counts_on_those_who_have_it_all() -> None:
    rig = Rig(20)
    holding(rig, 0)
    rig.seeder("a")
    rig.grant(epoch=5)
    assert not [one for one in rig.of(act.Request) if one.provider is None]
    assert not rig.swarm.feeds


def test_with_the_lease_lost_they_are_counted_on_again() -> None:
    rig = Rig(20)
    stalled(rig, "mute")
    rig.grant(epoch=5)
    rig(ev.LeaseLost(5))
    assert not rig.swarm.feeds
    rig.plan(lease=ev.LeaseState.NONE)
    rig.grant(epoch=6)
    assert rig.swarm.turn.alone, "nothing has come from them since"


def test_single_chunks_that_no_peer_has_are_asked_of_the_origin() -> None:
    rig = Rig(20)
    holding(rig, *range(3), *range(9, 12))
    rig.grant()
    requests = rig.of(act.Request)
    assert all(request.provider is None for request in requests)
    assert [(request.first, request.count) for request in requests] == [(3, HOLE_RUN), (7, 2)]
    assert len(requests) == HOLES
    rig.take(requests[0])
    assert [(request.first, request.count) for request in rig.of(act.Request)] == [(12, HOLE_RUN)]


def test_chunks_that_a_peer_has_are_left_to_it_until_patience_ends() -> None:
    rig = Rig(COUNT)
    rig.seeder("mute")
    holding(rig, 0)
    rig.grant()
    assert not [request for request in rig.of(act.Request) if request.provider is None]
    rig.swarm.members.cancel_all()
    rig.swarm.peers["mute"].requests = 9
    rig.tick(STALL)
    rig.tick(PATIENCE)
    assert [request.provider for request in rig.of(act.Request)] == [None] * HOLES


def test_the_end_gives_the_lease_back() -> None:
    rig = Rig(2)
    rig.grant(epoch=5)
    full = states(2)
    rig(ev.OriginAppended(0, 2, full))
    assert rig.of(act.CloseOrigin) == [act.CloseOrigin(5, done=True)]
    assert rig.of(act.Finish)


def test_readers_gone_give_it_back_undone() -> None:
    rig = Rig(COUNT, grace=1.0)
    rig.grant(epoch=5)
    rig(ev.ReaderLeft(1), 1.0)
    rig.tick(2.0)
    assert rig.of(act.CloseOrigin) == [act.CloseOrigin(5, done=False)]
    assert rig.of(act.Dissolve)


def test_without_links_the_stream_goes_on_behind_what_is_there() -> None:
    rig = Rig(COUNT, links=False)
    rig.swarm.have = Bitfield(COUNT, range(3))
    rig.grant()
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(3, 1)]


def test_of_several_claims_who_is_behind_follows_who_is_ahead() -> None:
    rig = Rig(COUNT)
    rig.grant(epoch=0, exclusive=False)
    assert rig.of(act.OpenOrigin)
    rig(ev.OriginAppended(0, 1, TRUE.prefix(1)), 0.1)
    rig(ev.Planned((Provider("other", "other", "host", 1),), exclusive=False), 0.1)
    rig(
        ev.PeerState("other", COUNT << 20, complete=False, have=Bitfield.from_int(COUNT, 0b1).to_bytes()), 0.2
    )
    assert not rig.of(act.CloseOrigin), "no further than we are"
    rig(ev.PeerHave("other", (1, 2, 3, 4)), 0.3)
    assert not rig.of(act.CloseOrigin), "another stream may have left them when it stopped for ours"
    rig(ev.PeerHave("other", (5,)), 0.3)
    assert rig.of(act.CloseOrigin) == [act.CloseOrigin(0, False)]


def first_and_last() -> tuple[str, str]:
    """Two names, before and behind "self" in the order of the streams of the rig's blob."""
    own = weight("self", str(DIGEST))
    names = [f"n{number}" for number in range(100)]
    before = next(name for name in names if weight(name, str(DIGEST)) < own)
    return before, next(name for name in names if weight(name, str(DIGEST)) > own)


def test_of_two_streams_without_a_lease_the_first_in_order_goes_on() -> None:
    before, behind = first_and_last()
    rig = Rig(COUNT)
    rig.plan("a", exclusive=False)
    rig.grant(epoch=0, exclusive=False)
    assert rig.of(act.Herald) == [act.Herald("self", 0.0)]
    rig(ev.PeerStreams("a", behind, 0.0), 0.1)
    assert not rig.of(act.CloseOrigin)
    assert not rig.of(act.Herald), "ours goes before it"
    rig(ev.PeerStreams("a", before, 0.0), 0.2)
    assert rig.of(act.CloseOrigin) == [act.CloseOrigin(0, False)]
    assert rig.of(act.Herald) == [act.Herald("self", 0.0, over=True), act.Herald(before, 0.0)]
    rig(ev.PeerStreams("a", before, 0.0, over=True), 0.3)
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 0)], "the other one stopped: it is our turn again"


def test_a_turn_is_left_to_a_stream_that_is_heard_of_and_dies_with_its_news() -> None:
    _, behind = first_and_last()
    rig = Rig(COUNT)
    rig.plan("a", exclusive=False)
    rig(ev.PeerStreams("a", behind, 2.0), 0.3)
    assert rig.of(act.Herald) == [act.Herald(behind, 2.0)]
    rig.grant(epoch=0, exclusive=False)
    assert not rig.of(act.OpenOrigin)
    rig.tick(LIFE - 1.71)
    assert not rig.of(act.OpenOrigin)
    rig.tick(LIFE - 1.7)
    assert rig.of(act.OpenOrigin)


def test_a_stream_that_never_brings_anything_is_waited_for_once() -> None:
    before, _ = first_and_last()
    rig = Rig(COUNT)
    rig.plan("liar", exclusive=False)
    rig.grant(epoch=0, exclusive=False)
    now = 0.0
    rig(ev.PeerStreams("liar", before, 0.0), 0.0)
    assert rig.of(act.CloseOrigin)
    while not rig.of(act.OpenOrigin):
        now += 0.25
        assert now <= TRUST
        rig(ev.PeerStreams("liar", before, 0.0), now)
    rig(ev.PeerStreams("liar", before, 0.0), now + 0.1)
    assert not rig.of(act.CloseOrigin)


def test_who_brought_everything_says_so_once_more() -> None:
    """What it has is told to one after another: others are to wait for that, and not for their turn."""
    rig = Rig(2)
    rig.plan("a", exclusive=False)
    rig.grant(epoch=0, exclusive=False)
    rig(ev.OriginAppended(0, 2, states(2)), 0.1)
    assert rig.of(act.Finish)
    assert rig.of(act.Herald) == [act.Herald("self", 0.0)]


def test_a_lease_of_the_tracker_yields_to_no_hearsay() -> None:
    before, _ = first_and_last()
    rig = Rig(COUNT)
    rig.plan("a")
    rig.grant(epoch=4)
    assert not rig.of(act.Herald), "the tracker tells who streams"
    rig(ev.PeerStreams("a", before, 0.0), 0.1)
    assert not rig.of(act.CloseOrigin)


def test_a_claim_waits_while_peers_get_on_and_no_longer() -> None:
    rig = Rig(COUNT)
    rig.follower("other", TRUE.prefix(1), Bitfield.from_int(COUNT, 0b1))
    (request,) = rig.of(act.Request)
    rig.now = 0.5
    rig.take(request)
    rig.grant(epoch=0, exclusive=False)
    assert not rig.of(act.OpenOrigin), "it has all that the other has, which goes on"
    due = rig.swarm.next_deadline()
    assert due is not None
    assert due <= 0.5 + CATCH_UP
    rig.tick(0.5 + CATCH_UP)
    assert rig.of(act.OpenOrigin)


def test_while_bytes_come_nobody_loses_patience_until_they_have_come_too_long() -> None:
    """On a slow link a chunk takes longer than patience lasts: the origin must not pay for that."""
    rig = Rig(COUNT)
    rig.plan("a", lease=ev.LeaseState.HELD)
    rig(ev.PeerState("a", COUNT * MIB, complete=True))
    rig.tell("a", states(COUNT))
    number, came = next(iter(rig.swarm.requests.pending)), 0
    while rig.now < FLOWING:
        came += 100_000
        rig(ev.RequestFlows(number, came), rig.now + 0.5)
        assert not rig.of(act.OpenOrigin)
        assert not rig.of(act.Seek)
    while rig.now <= FLOWING + PATIENCE:
        came += 100_000
        rig(ev.RequestFlows(number, came), rig.now + 0.5)
    assert rig.of(act.OpenOrigin) or rig.swarm.turn.granted
