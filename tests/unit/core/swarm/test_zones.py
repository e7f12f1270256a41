"""Peers of other zones: met as the tracker says, and asked only for what nobody near has."""

from __future__ import annotations

from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.patience import STALL
from p2p.core.swarm.requests import FIRST_HEDGE
from p2p.core.swarm.schedule import DRIP_SECONDS, FAR_AT_ONCE, FAR_LATE
from p2p.core.wire.common import Provider
from tests.support.swarm_rig import Rig, states

COUNT = 40
FULL = states(COUNT)


def at(name: str) -> Provider:
    """A provider whose zone is its name's first letter."""
    return Provider(name, name, name, 1, zone=name[0])


def plan(rig: Rig, *names: str, exclusive: bool = True) -> list[str]:
    """A plan comes; gives who is linked then."""
    rig(ev.Planned(tuple(map(at, names)), ev.LeaseState.HELD, exclusive=exclusive))
    return [link.provider.node for link in rig.of(act.Link)]


def holds(rig: Rig, name: str, *chunks: int) -> None:
    have = Bitfield(COUNT, chunks or range(COUNT))
    rig(ev.PeerState(name, COUNT * MIB, complete=False, have=have.to_bytes()))
    rig.tell(name, FULL)


def ready(*names: str, **settings: object) -> Rig:
    """A swarm in zone a with these peers, and a list that is proven."""
    rig = Rig(COUNT, zone="a", **settings)
    rig(ev.ReaderJoined(1, 0, COUNT * MIB, background=True))
    plan(rig, *names)
    assert rig.swarm.have is not None
    rig.swarm.have.add(COUNT - 1)
    return rig


def test_who_is_far_and_no_longer_in_the_plan_is_let_go_without_blame() -> None:
    rig = ready("a1", "b1", "b2")
    holds(rig, "b1")
    assert rig.asked["b1"]
    plan(rig, "b2")
    assert [unlink.provider.node for unlink in rig.of(act.Unlink)] == ["b1"]
    assert rig.of(act.Cancel)
    assert "b1" not in rig.asked
    assert list(rig.swarm.peers) == ["a1", "b2"], "who is near stays, as ever"
    assert plan(rig, "b1", "b2") == ["b1"], "it may come again at once"


def test_what_somebody_near_has_is_not_asked_across() -> None:
    rig = ready("a1", "b1", run=MIB)
    rig.swarm.have = Bitfield(COUNT, [COUNT - 1])
    holds(rig, "a1", *range(20))
    holds(rig, "b1")
    assert rig.asked["b1"]
    assert min(rig.asked["b1"]) >= 20
    rig(ev.PeerHave("a1", tuple(range(20, 40))))
    for request in [one for one in rig.swarm.requests.pending.values() if one.peer == "b1"]:
        rig.take(act.Request(request.request, None, request.first, request.count))
    assert "b1" not in rig.asked


def test_few_requests_are_under_way_across() -> None:
    rig = ready("b1", "b2", "b3", "b4", "b5", "b6", run=MIB)
    for number in range(1, 7):
        holds(rig, f"b{number}")
    assert sum(map(len, rig.asked.values())) == FAR_AT_ONCE


def test_what_is_late_over_there_is_asked_again_here_or_much_later() -> None:
    rig = ready("b1", "b2", "b3", run=MIB)
    for name in ("b1", "b2", "b3"):
        holds(rig, name)
    rig.tick(FIRST_HEDGE + 0.01)
    assert not rig.of(act.Request)
    chunk = next(iter(rig.swarm.requests.pending.values())).first
    plan(rig, "a1", "b1", "b2", "b3")
    holds(rig, "a1", chunk)
    rig.tick(FIRST_HEDGE + 1)
    assert chunk in rig.asked["a1"]
    rig.tick(FAR_LATE + 1)
    assert rig.asked["b3"], "twice across is better than never"


def test_an_uplink_that_is_slow_for_all_is_no_drip() -> None:
    rig = ready("a1", "a2", "b1", run=MIB)
    holds(rig, "b1")
    rig.swarm.peers["a1"].rate = rig.swarm.peers["a2"].rate = 1e9
    rig.tick(DRIP_SECONDS + 0.1)
    assert "b1" in rig.swarm.peers


def test_without_a_tracker_others_are_met_only_where_nobody_near_helps() -> None:
    rig = Rig(COUNT, zone="a")
    assert plan(rig, "b1", exclusive=False) == ["b1"], "nobody near is known"
    rig = Rig(COUNT, zone="a")
    assert plan(rig, "a1", "b1", exclusive=False) == ["a1"]
    assert plan(rig, "b1", exclusive=False) == []
    rig.now = STALL + 0.1
    assert plan(rig, "b1", exclusive=False) == ["b1"]


def test_one_that_lets_the_blob_in_goes_on_when_the_tracker_is_gone() -> None:
    rig = ready("a1", "b1")
    assert rig.swarm.members.lets_in
    plan(rig, "a1", exclusive=False)
    assert "b1" in rig.swarm.peers
    assert not rig.swarm.members.lets_in


def test_what_has_spread_is_what_the_zone_has() -> None:
    rig = ready("a1", "b1")
    holds(rig, "a1", 3, 4)
    holds(rig, "b1")
    assert rig.swarm.spread == 0b11000
    rig = Rig(COUNT)
    plan(rig, "a1", "b1")
    holds(rig, "b1", 5)
    assert rig.swarm.spread == 0b100000, "without a zone of one's own all are alike"
    assert not rig.swarm.members.lets_in
