from __future__ import annotations

from p2p.core.swarm.events import LeaseState
from p2p.discovery.fallback import ANSWER, PLAN_LIFE, REPEAT, Answer, Fallback

G, H, U = LeaseState.GRANTED, LeaseState.HELD, LeaseState.UNASKED


def test_a_tracker_that_answers_keeps_the_want():
    fallback = Fallback(lambda _: 0.0)
    fallback.want("d", lease=True, tracker=True, now=0.0)
    assert fallback.take(ANSWER - 0.01) == []
    fallback.answered("d", 0.1)
    assert fallback.take(2.0) == []
    fallback.answered("d", 2.1)
    assert fallback.take(2.1 + PLAN_LIFE - 0.01) == []
    assert fallback.take(2.1 + PLAN_LIFE) == [Answer("d", G)], "silent for too long"


def test_a_silent_tracker_is_not_waited_for():
    fallback = Fallback(lambda _: 0.3)
    fallback.want("d", lease=True, tracker=True, now=0.0)
    assert fallback.next_deadline() == ANSWER
    assert fallback.take(ANSWER) == [Answer("d", H)]
    assert fallback.next_deadline() == ANSWER + 0.3
    assert fallback.take(ANSWER + 0.3) == [Answer("d", G)]
    assert fallback.take(ANSWER + 0.3 + REPEAT) == [Answer("d", G)]


def test_no_claim_without_a_lease_asked():
    fallback = Fallback(lambda _: 0.0)
    fallback.want("d", lease=False, tracker=False, now=0.0)
    assert fallback.take(0.0) == [Answer("d", U)]
    assert fallback.take(REPEAT) == [Answer("d", U)]


def test_asking_again_does_not_send_a_claim_to_the_end():
    fallback = Fallback(lambda _: 1.0)
    fallback.want("d", lease=True, tracker=False, now=0.0)
    assert fallback.take(0.0) == [Answer("d", H)]
    fallback.want("d", lease=True, tracker=False, now=0.9)
    assert fallback.take(0.9) == [Answer("d", H)]
    assert fallback.take(1.0) == [Answer("d", G)]


def test_after_a_release_the_claim_waits_its_turn_again():
    fallback = Fallback(lambda _: 0.5)
    fallback.want("d", lease=True, tracker=False, now=0.0)
    fallback.take(0.0)
    assert fallback.take(0.5) == [Answer("d", G)]
    fallback.released("d")
    fallback.want("d", lease=True, tracker=False, now=1.0)
    assert fallback.take(1.0) == [Answer("d", H)]
    assert fallback.take(1.5) == [Answer("d", G)]


def test_a_lost_tracker_and_one_that_returns():
    fallback = Fallback(lambda _: 5.0)
    fallback.want("d", lease=True, tracker=True, now=0.0)
    fallback.answered("d", 0.1)
    fallback.tracker_lost(1.0)
    assert fallback.take(1.0) == [Answer("d", H)]
    fallback.want("d", lease=True, tracker=True, now=1.2)
    assert fallback.take(1.2) == [Answer("d", H)], "known to be away"
    fallback.answered("d", 2.0)
    assert fallback.take(5.9) == []


def test_unwanted_ones_are_forgotten():
    fallback = Fallback(lambda _: 0.0)
    fallback.want("d", lease=True, tracker=False, now=0.0)
    fallback.unwant("d")
    fallback.unwant("d")
    fallback.answered("d", 1.0)
    fallback.released("d")
    assert len(fallback) == 0
    assert fallback.next_deadline() is None
    assert fallback.take(9.0) == []
