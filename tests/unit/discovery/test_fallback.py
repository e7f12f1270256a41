from __future__ import annotations

from p2p.core.swarm.events import LeaseState
from p2p.discovery.fallback import ANSWER, ASKED, FOUND, PLAN_LIFE, REPEAT, Answer, AskDht, Fallback

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


def with_dht(claim: float = 0.3, delay: float = 0.1) -> Fallback:
    return Fallback(lambda _: claim, lambda: delay)


def test_known_peers_then_the_dht_then_the_claim():
    fallback = with_dht()
    fallback.want("d", lease=True, tracker=False, now=0.0)
    assert fallback.take(0.0) == [Answer("d", H)]
    assert fallback.next_deadline() == 0.1
    assert fallback.take(0.1) == [AskDht("d")]
    assert fallback.take(0.3) == [], "the claim's time has come, the DHT has not answered"
    fallback.dht_answered("d", 0.5, found=False)
    assert fallback.take(0.5) == [Answer("d", G)]


def test_a_claim_whose_turn_is_later_than_the_answer_waits_for_its_turn():
    fallback = with_dht(claim=2.0)
    fallback.want("d", lease=True, tracker=False, now=0.0)
    fallback.take(0.1)
    fallback.dht_answered("d", 0.2, found=False)
    assert fallback.take(0.2) == [Answer("d", H)]
    assert fallback.take(2.0) == []
    assert fallback.take(2.1) == [Answer("d", G)]


def test_a_silent_dht_is_not_waited_for_longer_than_a_lookup_takes():
    fallback = with_dht()
    fallback.want("d", lease=True, tracker=False, now=0.0)
    fallback.take(0.1)
    due = fallback.next_deadline()
    assert due is not None
    assert due <= 0.1 + ASKED
    assert fallback.take(0.1 + ASKED) == [Answer("d", G)]


def test_providers_of_the_dht_get_their_chance_before_the_claim():
    fallback = with_dht()
    fallback.want("d", lease=True, tracker=False, now=0.0)
    fallback.take(0.1)
    fallback.dht_answered("d", 0.2, found=True)
    assert fallback.take(0.2) == [Answer("d", H)]
    assert fallback.take(0.2 + FOUND) == [Answer("d", G)]
    fallback.dht_answered("d", 30.0, found=True)
    assert Answer("d", H) not in fallback.take(30.0), "what was granted is not put off again"


def test_a_plan_that_names_somebody_makes_the_dht_needless_and_one_that_does_not_no():
    fallback = with_dht()
    for digest, providers in (("d", True), ("e", False)):
        fallback.want(digest, lease=True, tracker=True, now=0.0)
        fallback.answered(digest, 0.05, providers=providers)
    assert fallback.take(0.1) == [AskDht("e")]
    fallback.dht_answered("e", 0.2, found=True)
    assert fallback.take(0.2) == [], "the tracker leads"


def test_when_the_tracker_is_lost_the_dht_is_asked_at_once_and_once():
    fallback = with_dht(delay=0.2)
    for digest in ("d", "e"):
        fallback.want(digest, lease=False, tracker=True, now=0.0)
    fallback.answered("d", 0.1)
    assert fallback.take(0.2) == [AskDht("e")]
    fallback.tracker_lost(0.3)
    assert fallback.take(0.3) == [AskDht("d"), Answer("d", U), Answer("e", U)]


def test_asked_again_with_other_words_the_dht_hears_them():
    fallback = with_dht()
    fallback.want("d", lease=True, tracker=False, now=0.0)
    fallback.want("d", lease=True, tracker=False, now=0.05)
    assert fallback.take(0.05) == [Answer("d", H)], "not before its time"
    assert fallback.take(0.1) == [AskDht("d")]
    fallback.want("d", lease=True, tracker=False, now=0.2)
    assert fallback.take(0.2) == [AskDht("d"), Answer("d", H)]
    fallback.unwant("d")
    fallback.dht_answered("d", 0.3, found=True)
    assert (fallback.take(9.0), fallback.next_deadline()) == ([], None)


def test_a_turn_is_reckoned_anew_when_it_comes():
    """More nodes may be known by then, and come before this one."""
    delays = [0.2, 0.9, 0.9, 0.1]
    fallback = Fallback(lambda _: delays.pop(0))
    fallback.want("d", lease=True, tracker=False, now=0.0)
    assert fallback.take(0.0) == [Answer("d", H)]
    assert fallback.take(0.2) == [Answer("d", H)]
    assert fallback.next_deadline() == 0.9
    assert fallback.take(0.9) == [Answer("d", G)]
    assert fallback.take(0.9 + REPEAT) == [Answer("d", G)]
    assert delays == [0.1], "what was claimed is not reckoned again"
