"""One strike disconnects, two within an hour ban for an hour."""

from __future__ import annotations

from p2p.core.swarm import reputation
from p2p.core.swarm.reputation import BAN_SECONDS, STRIKE_SECONDS, Reputation, Verdict


def test_the_first_strike_disconnects_and_the_second_bans_for_an_hour() -> None:
    known = Reputation()
    assert known.strike("liar", "a wrong chunk", 10.0) is Verdict.DISCONNECT
    assert not known.banned("liar", 10.0)
    assert known.strike("liar", "a false list", 20.0) is Verdict.BAN
    assert known.banned("liar", 20.0)
    assert known.bans(20.0) == {"liar": "a false list"}
    assert known.banned("liar", 20.0 + BAN_SECONDS - 0.1)
    assert not known.banned("liar", 20.0 + BAN_SECONDS)
    assert known.bans(20.0 + BAN_SECONDS) == {}


def test_a_strike_is_forgotten_after_an_hour() -> None:
    known = Reputation()
    known.strike("slip", "a wrong chunk", 0.0)
    assert known.strike("slip", "a wrong chunk", STRIKE_SECONDS) is Verdict.DISCONNECT


def test_a_third_strike_extends_the_ban() -> None:
    known = Reputation()
    for now in (0.0, 1.0, 1800.0):
        known.strike("liar", "again", now)
    assert known.banned("liar", 1800.0 + BAN_SECONDS - 1)


def test_nobody_answers_for_another() -> None:
    known = Reputation()
    known.strike("a", "x", 0.0)
    assert known.strike("b", "x", 0.0) is Verdict.DISCONNECT
    assert not known.banned("a", 0.0)
    assert not known.banned("stranger", 0.0)


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    """Node ids cost a stranger nothing: a flood of them must not cost us much, nor free a liar at once."""
    known = Reputation()
    for i in range(reputation.MOST + 10):
        known.strike(f"n{i}", "x", 0.0)
        known.strike("liar", "x", 0.0)
    assert len(known._records) <= reputation.MOST
    assert known.banned("liar", 0.0)
    assert known.strike("n0", "x", 0.0) is Verdict.DISCONNECT
