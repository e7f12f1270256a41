"""When discovery is asked, what it is told, and what a starving swarm is."""

from __future__ import annotations

import pytest

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.patience import FLOWING, PATIENCE, STALL
from p2p.core.swarm.search import IDLE_SHARE, LONG, LOOK_EVERY
from tests.support.swarm_rig import Rig, states

COUNT = 64


def named(rig: Rig) -> list[frozenset[str]]:
    """Whom the last event's questions to discovery name as unreachable."""
    return [seek.unreachable for seek in rig.of(act.Seek)]


def test_the_first_question_names_nobody() -> None:
    rig = Rig(COUNT, prepared=False)
    assert rig.swarm.next_deadline() is not None
    assert not rig.swarm.turn.starves


def test_after_a_stall_those_who_claim_everything_are_named() -> None:
    rig = Rig(COUNT)
    rig.seeder("mute")
    rig.follower("b", states(COUNT), Bitfield(COUNT))
    rig.tick(STALL + 0.1)
    assert named(rig) == [frozenset({"mute"})]
    assert rig.swarm.turn.starves


def test_who_was_linked_late_is_named_late() -> None:
    """One that is left out would keep the tracker from granting the origin, until patience ends."""
    rig = Rig(COUNT)
    rig.seeder("mute")
    rig.now = 1.0
    rig.seeder("dumb")
    rig.tick(STALL + 0.1)
    assert named(rig) == [frozenset({"mute"})]
    rig.tick(STALL + 1.2)
    assert named(rig) == [frozenset({"mute", "dumb"})]
    rig.tick(STALL + 2.3)
    assert named(rig) == [], "once"


def test_who_has_it_all_since_a_moment_ago_is_not_named() -> None:
    rig = Rig(COUNT)
    rig.seeder("mute")
    rig.follower("b", states(COUNT), Bitfield(COUNT))
    rig.now = 1.0
    rig(ev.PeerState("b", COUNT * MIB, complete=True))
    rig.tick(STALL + 0.1)
    assert named(rig) == [frozenset({"mute"})]


def test_a_node_that_can_not_ask_the_origin_names_nobody() -> None:
    """It would only leave itself without peers."""
    rig = Rig(COUNT, origin=False)
    rig.seeder("slow")
    rig.tick(STALL + 0.1)
    assert named(rig) == [frozenset()]


def waiting(*, exclusive: bool = True, said: bool = True) -> Rig:
    """Another node has the lease, and is linked where it ``said`` something."""
    rig = Rig(COUNT)
    rig.plan("holder", lease=ev.LeaseState.HELD, exclusive=exclusive)
    if said:
        rig(ev.PeerState("holder", COUNT * MIB, complete=False, have=bytes(COUNT // 8)))
    rig.tick(STALL + 0.1)
    rig.tick(PATIENCE + 0.1)
    return rig


def test_the_last_of_a_slow_crowd_waits_for_the_stream_that_the_tracker_vouches_for() -> None:
    rig = waiting()
    assert not rig.of(act.OpenOrigin)
    rig.tick(FLOWING + 0.1)
    assert rig.of(act.OpenOrigin) == [act.OpenOrigin(0, 0)], "and not for ever"


def test_nobody_waits_so_long_for_a_stream_that_it_can_not_reach_or_nobody_vouches_for() -> None:
    assert waiting(said=False).of(act.OpenOrigin)
    assert waiting(exclusive=False).of(act.OpenOrigin)


class Crowd(Rig):
    """``seeder`` gives ``rate`` bytes a second; a peer that gathers it gives what it has at ``fast``."""

    def __init__(self, rate: float, fast: float, *, ahead: int = 0, origin: bool = True) -> None:
        super().__init__(200, origin=origin)
        self.swarm.have = Bitfield(self.count, range(8))
        self.seeder("seeder")
        self.follower("b", states(self.count), Bitfield(self.count, range(8 + ahead)))
        self.swarm.peers["b"].rate = fast
        self.swarm.flow.rate = rate

    def look(self, times: int) -> list[frozenset[str]]:
        """Let that many looks go by, while chunks come."""
        found: list[frozenset[str]] = []
        for _ in range(times):
            self.swarm.patience.gained(self.now + LOOK_EVERY)
            self.tick(self.now + LOOK_EVERY + 0.01)
            found += named(self)
        return found


SLOW, FAST = 1e6, 100e6


def test_a_crowd_that_waits_for_one_slow_seeder_starves() -> None:
    crowd = Crowd(FAST, FAST)
    assert crowd.look(3) == []
    crowd.swarm.flow.rate = SLOW
    assert crowd.look(1) == [], "it may be a moment only"
    assert crowd.look(1) == [frozenset({"seeder"})]
    assert crowd.swarm.turn.starves
    assert crowd.look(3) == [], "once: the tracker has it"


@pytest.mark.parametrize(
    "crowd",
    [
        Crowd(FAST * IDLE_SHARE * 1.1, FAST),
        Crowd(SLOW, FAST, ahead=20),
        Crowd(SLOW, FAST, origin=False),
        Crowd(SLOW, SLOW),
        Crowd(200 * MIB / LONG, 1e12),
    ],
    ids=["well fed", "others have more", "no origin", "all are slow", "soon through"],
)
def test_others_do_not(crowd: Crowd) -> None:
    assert crowd.look(4) == []


def test_with_nobody_to_compare_it_with_a_slow_seeder_is_as_fast_as_it_is() -> None:
    crowd = Crowd(SLOW, FAST)
    crowd(ev.PeerGone("b", "left"))
    assert crowd.look(4) == []


def test_while_another_node_has_the_lease_nothing_more_is_asked() -> None:
    crowd = Crowd(SLOW, FAST)
    crowd.plan("seeder", "b", lease=ev.LeaseState.HELD)
    assert crowd.look(4) == []


def test_a_thin_uplink_between_zones_is_no_hunger() -> None:
    crowd = Crowd(SLOW, FAST)
    crowd.swarm.peers["seeder"].far = True
    assert crowd.look(4) == []
