from __future__ import annotations

import trio

from p2p.core.oci.digest import Digest
from p2p.core.wire.tracker import ReferenceAnswer
from p2p.discovery.api import KnownReference
from p2p.discovery.questions import ANSWER_TIMEOUT, HELD_TIMEOUT, TURN_TIMEOUT, Questions

DIGEST = Digest.of(b"manifest")
KNOWN = KnownReference(DIGEST, "m", 3, 0.5)


def answer(number, digest=str(DIGEST), lease=""):
    return ReferenceAnswer(number, digest, "m", 3, 0.5, lease)


async def asked(*answers, late=0.0):
    """What a question gives when these answers come, and how long it takes."""
    asks = []
    questions = Questions(asks.append)
    began = trio.current_time()
    found = []

    async def ask():
        found.append(await questions.ask_first("r", "t", 5.0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        for one in answers:
            await trio.sleep(late)
            await trio.testing.wait_all_tasks_blocked()
            if one is None:
                questions.gone()
            else:
                questions.answered(one)
    assert (asks[0].fresh, asks[0].max_age, asks[0].request) == (True, 5.0, 1)
    return found[0], trio.current_time() - began


async def test_whose_turn_it_is(autojump_clock):
    assert await asked(answer(1)) == (KNOWN, 0.0)
    assert await asked(answer(1, "", "granted")) == (None, 0.0)
    assert await asked(answer(1, "", "held"), answer(1)) == (KNOWN, 0.0)
    assert await asked(answer(1, "", "held"), answer(1, "", "granted")) == (None, 0.0)
    assert await asked(answer(1, "", "held"), None) == (None, 0.0), "the tracker is gone"
    assert await asked(answer(1, "no digest")) == (None, 0.0)


async def test_nobody_is_waited_for_long(autojump_clock):
    assert await asked() == (None, TURN_TIMEOUT)
    assert await asked(answer(2)) == (None, TURN_TIMEOUT), "to another question"
    assert await asked(answer(1, "", "held")) == (None, HELD_TIMEOUT)
    assert await asked(answer(1), late=1.0) == (None, 1.0)


async def test_what_was_seen_last(autojump_clock):
    asks = []
    questions = Questions(asks.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.testing.wait_all_tasks_blocked)
        began = trio.current_time()
        assert await questions.find("r", "t") is None
        assert trio.current_time() - began == ANSWER_TIMEOUT

        async def reply():
            await trio.testing.wait_all_tasks_blocked()
            questions.answered(answer(2))

        nursery.start_soon(reply)
        assert await questions.find("r", "t") == KNOWN
    assert not asks[0].fresh
