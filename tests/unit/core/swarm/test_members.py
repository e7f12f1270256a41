"""Peers: met, heard, dropped, met again later."""

from __future__ import annotations

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.members import MOST_RETRY, RETRY_PEER
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
    layers = rig.swarm.members.rarity.layers
    assert layers == [0b111, 0b011]


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
