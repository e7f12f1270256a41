"""What every control plane must do, over one tracker or several: real clients, real trackers, one process.

A test module gives the fixture ``plane``: an async context manager that starts trackers, and makes clients
of all of them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from p2p.core.oci.digest import Digest
from p2p.core.swarm.events import LeaseState, Planned
from p2p.core.wire.common import Holding
from p2p.core.wire.tracker import Intent, IntentProgress
from p2p.discovery.api import KnownReference

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 10 << 20
DIGESTS = [Digest.of(f"blob {n}".encode()) for n in range(6)]


def is_(lease: LeaseState) -> Callable[[object], bool]:
    return lambda news: isinstance(news, Planned) and news.lease is lease


async def test_one_is_granted_and_the_others_hear_of_it(plane: Any, news: Any) -> None:
    async with plane() as start:
        a, b = await start("a"), await start("b")
        for digest in DIGESTS:
            at_a, at_b = news(), news()
            a.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_a)
            granted = await at_a.until(is_(LeaseState.GRANTED))
            assert a.held(digest) == granted.epoch > 0
            b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
            held = await at_b.until(is_(LeaseState.HELD))
            assert [one.name for one in held.providers] == ["a"]
            assert b.held(digest) == 0
            a.release(digest, granted.epoch, done=False)
            assert a.held(digest) == 0
            await at_b.until(is_(LeaseState.GRANTED))
            a.unwant(digest)
            b.unwant(digest)
            assert b.held(digest) == 0


async def test_what_is_announced_is_planned_and_what_is_withdrawn_is_not(plane: Any, news: Any) -> None:
    async with plane() as start:
        a, b = await start("a"), await start("b")
        for digest in DIGESTS:
            at_b = news()
            a.announce(Holding(str(digest), SIZE, 10, complete=True))
            b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
            planned = await at_b.until(lambda n: isinstance(n, Planned) and n.providers)
            assert planned.providers[0].complete
            assert planned.size == SIZE
            a.announce(Holding(str(digest), 0, 0, complete=False))
            await at_b.until(is_(LeaseState.GRANTED))
            b.unwant(digest)


async def test_an_unwanted_digest_is_silent_and_gives_its_lease_back(plane: Any, news: Any) -> None:
    async with plane() as start:
        a, b = await start("a"), await start("b")
        for digest in DIGESTS:
            at_a, at_b = news(), news()
            a.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_a)
            await at_a.until(is_(LeaseState.GRANTED))
            b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
            await at_b.until(is_(LeaseState.HELD))
            count = len(at_a.all)
            a.unwant(digest)
            await at_b.until(is_(LeaseState.GRANTED))
            assert len(at_a.all) == count
            b.unwant(digest)


async def test_progress_under_an_unknown_epoch_harms_nobody(plane: Any, news: Any) -> None:
    async with plane() as start:
        a, b = await start("a"), await start("b")
        digest, at_a = DIGESTS[0], news()
        a.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_a)
        granted = await at_a.until(is_(LeaseState.GRANTED))
        b.progress(digest, granted.epoch, 5)
        b.release(digest, granted.epoch, done=True)
        a.progress(digest, granted.epoch, SIZE)
        a.release(digest, granted.epoch, done=True)
        a.announce(Holding(str(digest), SIZE, 10, complete=True))
        at_b = news()
        b.want(digest, SIZE, lease=True, unreachable=frozenset(), sink=at_b)
        await at_b.until(lambda n: isinstance(n, Planned) and any(one.complete for one in n.providers))


async def test_a_tag_seen_by_one_is_found_by_another(plane: Any) -> None:
    async with plane() as start:
        a, b = await start("a"), await start("b")
        for number in range(6):
            known = KnownReference(DIGESTS[number], "application/x", 7, 3.0)
            a.seen("hub/app", str(number), known)
            found = None
            with trio.fail_after(8):
                while found is None:
                    found = await b.find_reference("hub/app", str(number))
            assert (found.digest, found.media_type, found.size) == (DIGESTS[number], "application/x", 7)
            assert 3.0 <= found.age < 12
        assert await b.find_reference("hub/app", "other") is None


async def test_a_report_reaches_the_tracker_of_its_job(plane: Any) -> None:
    """Whichever tracker a command asks, every node gets the intent, and its word comes back."""
    async with plane() as start:
        intents: list[Intent] = []
        got = trio.Event()

        def take(message: Any) -> None:
            intents.append(message)
            got.set()

        a = await start("a", on_intent=take)
        for ask in start.commands:
            got = trio.Event()
            async with ask(("app:1",)) as reports:
                with trio.fail_after(8):
                    await got.wait()
                    intent = intents[-1]
                    assert intent.images == ("app:1",)
                    a.report(IntentProgress(intent.job, "app:1", "done", 5, ()))
                    while not (report := await reports()).done:
                        pass
                assert [row.state for row in report.rows] == ["done"]
        assert len({intent.job for intent in intents}) == len(start.commands)


async def test_its_state_is_told(plane: Any) -> None:
    async with plane() as start:
        a = await start("a")
        assert a.available
        await start.cut()
        with trio.fail_after(8):
            while a.available:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert a.held(DIGESTS[0]) == 0
        assert await a.find_reference("hub/app", "1") is None


async def test_one_asks_the_origin_for_a_tag_and_the_rest_are_told(plane: Any) -> None:
    async with plane() as start:
        nodes = [await start(name) for name in ("a", "b", "c")]
        for number in range(4):
            tag, known = str(number), KnownReference(DIGESTS[number], "application/x", 7, 0.0)
            heads: list[str] = []
            found: list[Digest] = []

            async def resolve(node: Any, name: str, tag: str = tag, known: KnownReference = known) -> None:
                fresh = await node.ask_first("hub/app", tag, 60.0)
                if fresh is None:
                    heads.append(name)  # noqa: B023  # of this round
                    node.seen("hub/app", tag, known)
                    fresh = known
                found.append(fresh.digest)  # noqa: B023

            async with trio.open_nursery() as nursery:
                for node, name in zip(nodes, "abc", strict=True):
                    nursery.start_soon(resolve, node, name)
            assert found == [DIGESTS[number]] * 3
            assert len(heads) == 1
        assert await nodes[0].ask_first("hub/app", "gone", 60.0) is None
        nodes[0].unseen("hub/app", "gone")
        assert await nodes[1].ask_first("hub/app", "gone", 60.0) is None
