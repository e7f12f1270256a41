"""What peers tell of their progress, and what follows from it."""

from __future__ import annotations

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from tests.support.swarm_rig import Rig, states

COUNT = 40
FULL = states(COUNT)


def crowd(*have: int, peers: str = "abcdef") -> Rig:
    """A swarm that has the first chunk, the last one and ``have``; peers have the first one and the list."""
    rig = Rig(COUNT, run=MIB)
    rig(ev.ReaderJoined(1, 0, COUNT * MIB, background=True))
    for name in peers:
        rig.follower(name, FULL, Bitfield(COUNT, [0]))
    rig.swarm.have = Bitfield(COUNT, {0, *have, COUNT - 1})
    rig.swarm.members.cancel_all()
    rig.tick(0.1)
    return rig


def requests(rig: Rig) -> list[tuple[str, int]]:
    return [(one.provider.node, one.first) for one in rig.of(act.Request)]


def test_who_has_something_that_is_missing_is_asked_at_once() -> None:
    rig = crowd()
    rig(ev.PeerHave("c", (5,)))
    assert requests(rig) == [("c", 5)]


def test_nothing_is_asked_for_that_is_here_or_on_its_way() -> None:
    rig = crowd(7)
    rig(ev.PeerHave("a", (5, 7)))
    assert requests(rig) == [("a", 5)]
    assert rig(ev.PeerHave("b", (5, 7))) == []


def test_what_there_is_no_room_for_is_asked_when_an_answer_comes() -> None:
    rig = Rig(COUNT, run=MIB)
    for name in "abcdef":
        rig.follower(name, FULL.prefix(20), Bitfield(COUNT, [0]))
    for name, index in ("b", 1), ("c", 2), ("d", 3):
        rig(ev.PeerHave(name, (index,)))
        assert requests(rig) == [(name, index)]
    assert rig.swarm.credit == len(rig.swarm.requests.pending), "no more rests on a stranger's list"
    assert rig(ev.PeerHave("e", (10,))) == []
    first = next(iter(rig.swarm.requests.pending.values()))
    rig.take(act.Request(first.request, None, first.first, first.count))
    assert requests(rig) == [("e", 10)]


def test_states_that_commit_to_known_chunks_have_them_asked_for() -> None:
    rig = Rig(COUNT, run=MIB)
    rig(ev.ReaderJoined(1, 0, COUNT * MIB, background=True))
    for name in "abcde":
        rig.follower(name, FULL.prefix(1), Bitfield(COUNT, [0]))
    rig.follower("f", FULL, Bitfield(COUNT, [0]))
    rig.swarm.have = Bitfield(COUNT, {0, COUNT - 1})
    rig.tick(0.1)
    assert rig(ev.PeerHave("a", (5,))) == [], "link 5 is not in its list"
    rig(ev.PeerMidstates("a", 1, FULL.states[32 : 32 * 6], FULL.prefix(6).list_id()))
    assert requests(rig) == [("a", 5)]


def test_a_list_that_grows_is_adopted_and_everybody_is_asked_again() -> None:
    rig = Rig(COUNT, run=MIB)
    rig.follower("a", FULL.prefix(2), Bitfield(COUNT, [0, 1]))
    rig.tell("a", FULL.prefix(3))
    assert [one.midstates.length for one in rig.of(act.Adopt)] == [3]


@pytest.mark.parametrize("news", ["too long", "out of range", "not what its id says"])
def test_who_tells_what_cannot_be_is_let_go(news: str) -> None:
    rig = crowd()
    longer = states(COUNT + 1)
    event: ev.Event
    match news:
        case "too long":
            event = ev.PeerMidstates("a", 0, longer.states, longer.list_id())
        case "out of range":
            event = ev.PeerHave("a", (COUNT,))
        case _:
            event = ev.PeerMidstates("a", 0, FULL.states, longer.list_id())
    rig(event)
    assert [one.provider.node for one in rig.of(act.Unlink)] == ["a"]
    assert "a" not in rig.swarm.peers


def test_news_of_no_consequence_move_no_deadline_and_requests_do() -> None:
    rig = crowd(7)
    before = rig.swarm.next_deadline()
    rig(ev.PeerHave("a", (7,)), at=0.2)
    assert rig.swarm.next_deadline() == before
    rig(ev.PeerHave("a", (5,)))
    late = rig.swarm.requests.first_late(endgame=False)
    assert rig.swarm.next_deadline() == late != before


def test_a_late_request_is_hedged_by_whatever_comes_next() -> None:
    rig = crowd(7)
    rig(ev.PeerHave("a", (5,)))
    rig(ev.PeerHave("b", (5,)))
    due = rig.swarm.next_deadline()
    assert due is not None
    rig(ev.PeerHave("c", (7,)), at=due)
    assert requests(rig) == [("b", 5)]


def test_who_streams_without_a_lease_stops_for_peers_that_have_it() -> None:
    rig = Rig(COUNT)
    rig.follower("a", FULL.prefix(0), Bitfield(COUNT))
    rig.grant(exclusive=False)
    assert rig.swarm.turn.streaming
    rig(ev.PeerHave("a", tuple(range(20))), at=0.1)
    assert [one.done for one in rig.of(act.CloseOrigin)] == [False]


def test_more_peers_behind_another_list_have_it_tried() -> None:
    rig = crowd(peers="ab")
    other = states(COUNT, "other")
    for name in "xyz":
        rig.plan(name)
        rig(ev.PeerState(name, COUNT * MIB, complete=False, have=Bitfield(COUNT, [0]).to_bytes()))
    for name in "xy":
        rig.tell(name, other)
        assert not rig.of(act.Relink)
    rig.tell("z", other)
    assert [one.midstates for one in rig.of(act.Relink)] == [other]
