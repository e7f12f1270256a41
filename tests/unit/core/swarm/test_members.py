"""Peers: met, heard, dropped, met again later."""

from __future__ import annotations

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.acquaintances import HINTS
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.members import IDLE, MOST_RETRY, RETRY_PEER, UNPROVEN
from p2p.core.swarm.peer import UNMET_LIMIT
from p2p.core.wire.common import Provider
from tests.support.swarm_rig import Rig, provider, states

COUNT = 8
SIZE = COUNT * MIB
TRUE, FALSE = states(COUNT), states(COUNT, "false")


def linked(rig: Rig) -> list[str]:
    return [link.provider.node for link in rig.of(act.Link)]


def test_providers_are_linked_in_the_plans_order_while_there_is_room() -> None:
    rig = Rig(COUNT, peers=3)
    rig.plan("c", "a", "d", "b")
    assert linked(rig) == ["c", "a", "d"]
    rig.plan("a", "b")
    assert linked(rig) == []


def test_we_are_no_peer_of_ours_and_one_address_is_one_peer() -> None:
    rig = Rig(COUNT)
    rig(ev.Planned((provider("self"), Provider("x", "x", "host", 9), Provider("y", "y", "host", 9))))
    assert linked(rig) == ["x"]


def test_the_banned_are_not_linked() -> None:
    rig = Rig(COUNT)
    for _ in range(2):
        rig.swarm.members._reputation.strike("liar", "lies", 0.0)
    rig.plan("liar", "a")
    assert linked(rig) == ["a"]


def test_a_peer_that_failed_is_linked_again_later_each_time_later() -> None:
    rig = Rig(COUNT)
    waits, now = [], 0.0
    for _ in range(7):
        rig.now = now
        rig.plan("a")
        assert linked(rig) == ["a"]
        rig(ev.PeerGone("a", "left"))
        wait = RETRY_PEER
        while wait < MOST_RETRY and "a" in rig.swarm.members.unreachable(now + wait):
            wait *= 2
        waits.append(wait)
        now += wait
    assert waits[0] == RETRY_PEER
    assert waits == sorted(waits)
    assert waits[-1] == MOST_RETRY


def test_a_peer_whose_link_ended_is_not_unlinked_once_more() -> None:
    rig = Rig(COUNT)
    rig.seeder("a")
    requests = {request.request for request in rig.of(act.Request)}
    rig(ev.PeerGone("a", "left"))
    assert not rig.of(act.Unlink)
    assert {cancelled.request for cancelled in rig.of(act.Cancel)} == requests
    assert not rig.asked


def test_who_states_another_size_is_left_and_not_accused() -> None:
    """The last link will tell who is right; ours may be the false one."""
    rig = Rig(COUNT)
    rig.plan("a")
    rig(ev.PeerState("a", SIZE + 1, complete=True))
    assert [unlinked.provider.node for unlinked in rig.of(act.Unlink)] == ["a"]
    assert not rig.of(act.Accuse)


@pytest.mark.parametrize("have", [b"\xff\x01", b"\xff" * 100], ids=["a bit beyond", "too long"])
def test_a_bitfield_that_does_not_fit_is_an_offence(have: bytes) -> None:
    rig = Rig(COUNT)
    rig.plan("a")
    rig(ev.PeerState("a", SIZE, complete=False, have=have))
    assert [accused.provider.node for accused in rig.of(act.Accuse)] == ["a"]


@pytest.mark.parametrize("index", [-1, COUNT, 10**9])
def test_so_is_a_chunk_that_is_none(index: int) -> None:
    rig = Rig(COUNT)
    rig.follower("a", TRUE, Bitfield(COUNT))
    rig(ev.PeerHave("a", (0, index)))
    assert [accused.provider.node for accused in rig.of(act.Accuse)] == ["a"]


def test_a_list_longer_than_the_blob_is_refused() -> None:
    rig = Rig(COUNT)
    rig.plan("a")
    rig(ev.PeerState("a", SIZE, complete=True))
    rig.tell("a", states(COUNT + 1))
    assert [accused.provider.node for accused in rig.of(act.Accuse)] == ["a"]


def test_news_of_a_growing_peer_count_for_rarity() -> None:
    rig = Rig(COUNT)
    rig.follower("a", TRUE, Bitfield(COUNT, [0]))
    rig.follower("b", TRUE, Bitfield(COUNT, [0, 1]))
    rig(ev.PeerHave("a", (1, 2, 2, 1)))
    rarity = rig.swarm.members.rarity
    assert (rarity.available, rarity.rarest(0b111)) == (0b111, 0b100)
    rig(ev.PeerGone("b", "gone"))
    assert rarity.rarest(0b111) == 0b111, "one that left no longer counts"


def test_two_unmet_claims_and_it_is_left_alone() -> None:
    rig = Rig(COUNT)
    rig.seeder("boaster")
    for _ in range(UNMET_LIMIT):
        number, pending = next(iter(rig.swarm.requests.pending.items()))
        lacking = list(pending.missing)
        rig(ev.RequestFailed(number, "404", unmet=True))
        peer = rig.swarm.peers.get("boaster")
        if peer is not None:
            assert peer.have is not None
            assert not set(peer.have) & set(lacking), "what it lacks is not asked again"
    assert "boaster" not in rig.swarm.peers
    assert not rig.of(act.Accuse)


@pytest.mark.parametrize("stalled", [True, False])
def test_a_stall_or_a_broken_answer_is_enough(stalled: bool) -> None:
    rig = Rig(COUNT)
    rig.seeder("a")
    number = next(iter(rig.swarm.requests.pending))
    rig(ev.RequestFailed(number, "reset", stalled=stalled))
    assert "a" not in rig.swarm.peers
    assert not rig.asked


def test_an_absent_peer_is_asked_for_nothing_until_it_says_more() -> None:
    rig = Rig(COUNT)
    rig.plan("a")
    rig(ev.PeerAbsent("a"))
    rig.tick(0.1)
    assert not rig.asked
    rig(ev.PeerState("a", SIZE, complete=True))
    rig.tell("a", TRUE)
    assert rig.asked


def test_a_one_chunk_blob_is_asked_of_a_complete_provider_at_once_and_unlinked() -> None:
    rig = Rig(1)
    rig.plan("a")
    assert not rig.of(act.Link)
    assert rig.asked == {"a": [0]}
    rig.take(rig.of(act.Request)[0])
    assert rig.of(act.Finish)
    assert not rig.of(act.Unlink)


def completed(rig: Rig) -> list[str]:
    """Every link holds; gives who is accused at the end."""
    rig.swarm.have = Bitfield(COUNT, range(COUNT - 1))
    request = rig.swarm.requests.add("honest", COUNT - 1, 1, rig.now)
    rig.take(act.Request(request.request, None, COUNT - 1, 1))
    assert rig.of(act.Finish)
    return [accused.provider.node for accused in rig.of(act.Accuse)]


def test_at_the_end_who_vouched_for_a_false_list_is_accused() -> None:
    rig = Rig(COUNT)
    rig.seeder("honest", TRUE)
    rig.seeder("liar", FALSE)
    assert completed(rig) == ["liar"]


def test_who_only_followed_a_false_list_may_be_deceived() -> None:
    rig = Rig(COUNT)
    rig.seeder("honest", TRUE)
    rig.follower("deceived", FALSE.prefix(4), Bitfield(COUNT, [0]))
    assert completed(rig) == []


def test_so_may_one_that_is_complete_now_and_whose_new_list_is_under_way() -> None:
    """Its state comes before its list: the old list is not what it vouches for."""
    rig = Rig(COUNT)
    rig.seeder("honest", TRUE)
    rig.follower("deceived", FALSE.prefix(4), Bitfield(COUNT, [0]))
    rig(ev.PeerState("deceived", SIZE, complete=True))
    assert completed(rig) == []


def test_a_part_of_the_true_list_is_no_lie() -> None:
    rig = Rig(COUNT)
    rig.seeder("honest", TRUE)
    rig.seeder("liar", FALSE)
    rig.tell("liar", TRUE.prefix(2))
    assert completed(rig) == []


def hosts(*numbers: int) -> tuple[tuple[str, int], ...]:
    return tuple((f"10.0.0.{number}", 5001) for number in numbers)


def test_whom_a_peer_speaks_of_is_linked_by_address() -> None:
    rig = Rig(COUNT)
    rig.plan("a", exclusive=False)
    rig(ev.PeerKnown("a", hosts(1, 2)))
    assert linked(rig) == ["static:10.0.0.1:5001", "static:10.0.0.2:5001"]
    rig(ev.PeerKnown("a", hosts(1, 2)))
    assert linked(rig) == []
    rig(ev.PeerKnown("stranger", hosts(3)))
    assert linked(rig) == [], "from nobody that we are linked with"
    rig(ev.PeerKnown("", hosts(4)))
    assert linked(rig) == ["static:10.0.0.4:5001"], "our own links know them"
    rig(ev.Planned((Provider("known", "known", "10.0.0.1", 5001),), exclusive=False))
    assert linked(rig) == [], "one address is one peer"


def test_garbage_takes_few_seats_and_makes_room_as_it_fails() -> None:
    rig = Rig(COUNT)
    rig.plan("a", "b", exclusive=False)
    rig(ev.PeerKnown("a", hosts(*range(1, 200))))
    assert len(linked(rig)) == UNPROVEN
    rig(ev.PeerKnown("b", hosts(200)))
    assert linked(rig) == []
    for number in range(1, UNPROVEN + 1):
        rig(ev.PeerGone(f"static:10.0.0.{number}:5001", "nobody"))
    rig.plan("a", "b", exclusive=False)
    assert len(linked(rig)) == UNPROVEN
    taken = {name for name in rig.swarm.peers if name.startswith("static:")}
    assert not taken & {f"static:10.0.0.{number}:5001" for number in range(1, UNPROVEN + 1)}, "they failed"
    assert sum(len(told) for told in rig.swarm.members._hints.values()) == HINTS + 1


def test_one_that_answers_makes_room_for_the_next() -> None:
    rig = Rig(COUNT, peers=UNPROVEN + 2)
    rig.plan("a", exclusive=False)
    rig(ev.PeerKnown("a", hosts(*range(1, 30))))
    assert len(linked(rig)) == UNPROVEN
    rig(ev.PeerAbsent("static:10.0.0.1:5001"))
    assert len(linked(rig)) == 1
    rig.now += IDLE
    rig(ev.PeerState("static:10.0.0.2:5001", SIZE, complete=True))
    assert len(linked(rig)) == 1, "in the seat of the one that has nothing"
    rig(ev.PeerState("static:10.0.0.3:5001", SIZE, complete=True))
    assert linked(rig) == [], "all seats are taken"


def test_who_spoke_and_is_gone_is_forgotten_with_what_it_said() -> None:
    rig = Rig(COUNT)
    rig.plan("a", exclusive=False)
    rig(ev.PeerKnown("a", hosts(*range(1, 30))))
    rig(ev.PeerGone("a", "left"))
    assert rig.swarm.members._hints == {}


def test_who_was_let_go_does_not_come_back_by_its_address() -> None:
    """A liar that subscribed to us is known by where it is, too."""
    rig = Rig(COUNT)
    rig.plan("a", "liar", exclusive=False)
    there = rig.swarm.peers["liar"].provider
    rig.swarm.members.drop("liar", rig.now, reason="it lies")
    rig(ev.PeerKnown("", ((there.host, there.port),)))
    assert linked(rig) == []
    rig(ev.PeerKnown("", ((there.host, there.port),)), 100.0)
    assert linked(rig) == [f"static:{there.host}:{there.port}"], "it has its chance in time"


def test_where_a_tracker_plans_hints_are_not_followed() -> None:
    rig = Rig(COUNT)
    rig.plan("a")
    rig(ev.PeerKnown("a", hosts(1)))
    assert linked(rig) == []
    rig.plan("a", exclusive=False)
    assert linked(rig) == ["static:10.0.0.1:5001"], "it is gone"


def test_one_that_claims_too_much_is_gone_from_the_counts() -> None:
    rig = Rig(COUNT)
    rig.follower("a", TRUE, Bitfield(COUNT, [0]))
    rig.follower("b", TRUE, Bitfield(COUNT, [0, 1]))
    rig(ev.PeerHave("b", (2, COUNT)))
    assert "b" not in rig.swarm.peers
    assert rig.swarm.members.rarity.planes == [0b1]


def test_who_has_nothing_makes_room_for_those_that_others_speak_of_or_the_dht_finds() -> None:
    rig = Rig(COUNT, peers=4)
    rig.plan("a", "b", "c", "d", exclusive=False)
    assert linked(rig) == ["a", "b", "c", "d"], "four seats"
    for name in "abc":
        rig(ev.PeerAbsent(name))
    rig.seeder("d", TRUE)
    rig(ev.PeerKnown("d", hosts(1, 2)))
    assert linked(rig) == [], "they may want it in a moment"
    rig.plan("e", exclusive=False)
    assert linked(rig) == [], "one that is merely known is no better"
    rig(ev.Planned((provider("e"), provider("f")), exclusive=False, route="dht"))
    assert linked(rig) == ["e", "f"]
    assert [gone.provider.node for gone in rig.of(act.Unlink)] == ["c", "b"]
    rig.now += IDLE
    rig(ev.PeerKnown("d", hosts(1, 2)))
    assert linked(rig) == ["static:10.0.0.1:5001"], "the last idle one goes, and nobody of use"
    assert list(rig.swarm.peers) == ["d", "e", "f", "static:10.0.0.1:5001"]
    rig(ev.PeerAbsent("e"))
    rig.follower("e", TRUE, Bitfield(COUNT))
    rig(ev.Planned((provider("g"),), exclusive=False, route="dht"))
    assert linked(rig) == [], "it gathers it meanwhile"
