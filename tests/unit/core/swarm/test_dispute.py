"""Who is guilty, and when a list is given up for another."""

from __future__ import annotations

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.dispute import BENEFIT, DOUBTS
from p2p.core.swarm.midstates import Midstates
from p2p.core.swarm.patience import PATIENCE, STALL
from p2p.errors import OriginProtocolError
from tests.support.swarm_rig import Rig, states

COUNT = 8
TRUE, FALSE = states(COUNT), states(COUNT, "false")


def relinked(rig: Rig, *have: int) -> None:
    rig(ev.Relinked(Bitfield(COUNT, have).to_bytes()))


def test_a_seeder_that_sends_a_wrong_chunk_is_accused_at_once() -> None:
    rig = Rig(COUNT)
    rig.seeder("liar")
    request = rig.of(act.Request)[0]
    rig.take(request, held=False)
    (accused,) = rig.of(act.Accuse)
    assert (accused.provider.node, accused.chunk) == ("liar", request.first)
    assert [unlinked.provider.node for unlinked in rig.of(act.Unlink)] == ["liar"]
    assert not rig.asked
    assert "liar" in rig.swarm.members.unreachable(rig.now)


def test_a_chunk_of_a_one_chunk_blob_needs_no_list_to_be_wrong() -> None:
    rig = Rig(1)
    rig.plan("liar")
    rig.take(rig.of(act.Request)[0], held=False)
    assert [accused.provider.node for accused in rig.of(act.Accuse)] == ["liar"]


def doubted(rig: Rig, at: float) -> None:
    """A growing peer sends a chunk that fails."""
    rig.now = at
    rig.follower("grows", FALSE.prefix(4), Bitfield(COUNT, range(4)))
    rig.take(rig.of(act.Request)[0], held=False)
    assert not rig.of(act.Accuse)


def test_a_growing_peer_may_say_that_its_list_fell() -> None:
    rig = Rig(COUNT)
    doubted(rig, 1.0)
    assert not rig.asked
    rig.now = 1.5
    rig.tell("grows", TRUE.prefix(4))
    rig.tick(1.0 + BENEFIT)
    assert not rig.of(act.Accuse)
    assert "grows" in rig.swarm.peers


def test_a_growing_peer_that_stands_by_its_list_is_accused_when_the_time_is_over() -> None:
    rig = Rig(COUNT)
    doubted(rig, 1.0)
    assert rig.swarm.next_deadline() is not None
    rig.tick(1.0 + BENEFIT - 0.1)
    assert not rig.of(act.Accuse)
    rig.tick(1.0 + BENEFIT)
    assert [accused.provider.node for accused in rig.of(act.Accuse)] == ["grows"]


def test_a_list_that_only_grows_clears_nobody() -> None:
    rig = Rig(COUNT)
    doubted(rig, 1.0)
    longer = FALSE.prefix(6)
    rig(ev.PeerMidstates("grows", 4, longer.states[4 * 32 :], longer.list_id()), 1.5)
    rig.tick(1.0 + BENEFIT)
    assert rig.of(act.Accuse)


def test_who_changes_its_list_again_and_again_is_left_alone() -> None:
    rig = Rig(COUNT, origin=False)
    doubted(rig, 1.0)
    for _ in range(DOUBTS):
        rig.tell("grows", FALSE.prefix(4))
        if "grows" in rig.swarm.peers:
            rig.take(rig.of(act.Request)[0], held=False)
    assert not rig.of(act.Accuse)
    assert "grows" not in rig.swarm.peers


def test_requests_to_a_peer_that_now_dissents_are_dropped() -> None:
    """What it sends holds under another list than ours: nothing can be read from its failing."""
    rig = Rig(COUNT)
    rig.seeder("seeder", FALSE)
    rig.follower("grows", FALSE.prefix(4), Bitfield(COUNT, range(4)))
    rig.swarm.peers["seeder"].requests = 9  # busy: the other one is asked
    rig.tick(0.1)
    assert rig.asked.get("grows")
    rig.tell("grows", TRUE.prefix(4))
    assert rig.of(act.Cancel)
    assert "grows" not in rig.asked


def test_the_origins_word_fells_a_list_of_peers_and_a_full_dissent_takes_its_place() -> None:
    rig = Rig(COUNT)
    rig.seeder("liar", FALSE)
    rig.seeder("honest", TRUE)
    rig.grant()
    rig(ev.OriginMismatch())
    (relink,) = rig.of(act.Relink)
    assert relink.midstates == TRUE
    assert rig.of(act.Cancel)
    relinked(rig)
    assert set(rig.asked) == {"honest"}


def test_where_no_dissent_is_full_our_own_list_is_built_from_the_first_byte() -> None:
    rig = Rig(COUNT)
    rig.follower("liar", FALSE.prefix(4), Bitfield(COUNT, range(4)))
    rig.grant()
    (opened,) = rig.of(act.OpenOrigin)
    assert opened.first == 4
    rig(ev.OriginMismatch())
    assert [one.midstates for one in rig.of(act.Relink)] == [Midstates("sha256")]
    relinked(rig)
    (opened,) = rig.of(act.OpenOrigin)
    assert opened.first == 0
    assert rig.swarm.lists.firm
    assert not rig.asked


def test_our_own_list_that_does_not_give_the_digest_is_the_origins_fault() -> None:
    rig = Rig(COUNT)
    rig.grant()
    rig(ev.OriginMismatch())
    (failed,) = rig.of(act.Fail)
    assert isinstance(failed.error, OriginProtocolError)
    assert failed.discard
    assert [closed.epoch for closed in rig.of(act.CloseOrigin)] == [1]
    assert rig.swarm.over


def test_a_firm_list_is_soft_again_when_the_origin_is_somebody_elses() -> None:
    rig = Rig(COUNT)
    rig.follower("liar", FALSE.prefix(4), Bitfield(COUNT, range(4)))
    rig.grant(epoch=3)
    rig(ev.OriginMismatch())
    relinked(rig)
    rig.seeder("honest", TRUE)
    assert rig.swarm.lists.firm
    rig(ev.LeaseLost(3))
    assert not rig.swarm.lists.firm
    assert rig.swarm.lists.adopted == TRUE
    rig.tick(0.2)
    assert "honest" in rig.asked


def test_nothing_is_asked_and_nothing_times_out_while_the_disk_is_checked() -> None:
    rig = Rig(COUNT)
    rig.seeder("liar", FALSE)
    for name in ("a", "b"):
        rig.seeder(name, TRUE)
    assert rig.swarm.dispute.relinking
    assert not rig.asked
    rig.tick(1.0)
    assert not rig.of(act.Request)
    assert rig.swarm.next_deadline() is None
    relinked(rig, 0, 5)
    assert set(rig.swarm.have or ()) == {0, 5}
    assert rig.asked


@pytest.mark.parametrize("listed", [None, FALSE.prefix(3)], ids=["no list", "a stump"])
def test_who_claims_everything_without_its_list_is_left_when_nothing_comes(listed: Midstates | None) -> None:
    rig = Rig(COUNT)
    rig.plan("liar")
    rig(ev.PeerState("liar", COUNT << 20, complete=True))
    if listed is not None:
        rig.tell("liar", listed)
        rig.swarm.members.cancel_all()
        rig.swarm.peers["liar"].requests = 9
    rig.tick(STALL)
    assert [one.provider.node for one in rig.of(act.Unlink)] == ["liar"]
    (seek,) = rig.of(act.Seek)
    assert seek.unreachable == {"liar"}


def test_a_list_that_most_stand_behind_is_not_given_up_for_a_moment_without_chunks() -> None:
    """They have nothing for us yet; a liar claims to have all."""
    rig = Rig(COUNT)
    for name in "ab":
        rig.follower(name, TRUE, Bitfield(COUNT))
    rig.seeder("liar", FALSE)
    assert rig.swarm.peers["liar"].dissent
    rig.tick(STALL)
    assert not rig.of(act.Relink)
    assert rig.of(act.Seek)
    rig(ev.PeerGone("b", "it left"))
    rig.tick(STALL + PATIENCE)
    assert not rig.swarm.lists.stands(rig.swarm.peers.values())


def test_a_list_that_brings_nothing_gives_way_to_one_that_may() -> None:
    rig = Rig(COUNT)
    rig.follower("stump", FALSE.prefix(3), Bitfield(COUNT))
    rig.seeder("honest", TRUE)
    assert rig.swarm.peers["honest"].dissent
    rig.tick(STALL)
    (relink,) = rig.of(act.Relink)
    assert relink.midstates == TRUE
    relinked(rig)
    assert "honest" in rig.asked


def test_nothing_goes_to_clients_while_peers_dispute() -> None:
    rig = Rig(COUNT)
    rig.seeder("a", TRUE)
    rig.take(next(r for r in rig.of(act.Request) if r.first != COUNT - 1))
    held = next(iter(rig.swarm.have or ()))
    rig.seeder("b", FALSE)
    assert not rig.swarm.readable(held)
    rig(ev.PeerGone("b", "left"))
    for request in list(rig.swarm.requests.pending.values()):
        if COUNT - 1 in request.missing:
            rig.take(act.Request(request.request, None, request.first, request.count))
    assert rig.swarm.readable(held)
