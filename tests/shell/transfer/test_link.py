"""One link over memory: what each side tells the other, and what it bears."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from p2p.config import StoreSettings
from p2p.core.swarm.events import PeerAbsent, PeerGone, PeerHave, PeerMidstates, PeerState
from p2p.core.swarm.midstates import Midstates
from p2p.core.wire.codec import decoder, encode
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.peer import (
    Absent,
    FindReference,
    FoundReference,
    Have,
    PeerHello,
    PeerMessage,
    State,
    Subscribe,
    Unsubscribe,
)
from p2p.core.wire.peer import Midstates as MidstatesMessage
from p2p.errors import PeerError
from p2p.store.memory import MemoryStore
from p2p.transfer import link as link_module
from p2p.transfer.holdings import Holdings
from p2p.transfer.link import ANSWERS, HAVES_A_MESSAGE, STATES_A_MESSAGE, SUBSCRIPTIONS, Link
from tests.support.http_rig import until
from tests.support.store_rig import HASHER, MIB, Blob, blob, put

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest

CONTENT = blob(4 * MIB + 5)
NAME = str(CONTENT.digest)
NONE = Midstates("sha256")
FULL = CONTENT.midstates
HELLO = PeerHello(PROTOCOL_VERSION, "a" * 32, "me", 1)
read_message = decoder(PeerMessage)


@dataclass
class Side:
    """One node's end: what it holds, its link, and what it was told."""

    store: MemoryStore
    holdings: Holdings
    link: Link
    told: list[Any] = field(default_factory=list)
    references: dict[str, FoundReference] = field(default_factory=dict)
    gate: trio.Event | None = None
    looking: int = 0
    ended: trio.Event = field(default_factory=trio.Event)

    def subscribe(self, content: Blob = CONTENT, midstates: Midstates = NONE, name: str = "it") -> None:
        self.link.subscribe(content.digest, name, midstates, self.told.append)

    async def find(self, message: FindReference) -> FoundReference:
        self.looking += 1
        if self.gate is not None:
            await self.gate.wait()
        self.looking -= 1
        found = self.references.get(message.reference, FoundReference(0))
        return FoundReference(message.request, found.digest, found.media_type, found.size, found.age)

    async def has(self, count: int) -> list[Any]:
        """Wait until so many events were told, and no more."""
        await until(lambda: len(self.told) >= count)
        await wait_all_tasks_blocked()
        assert len(self.told) == count, self.told
        taken, self.told[:] = list(self.told), []
        return taken


async def side(websocket: Any, name: str) -> Side:
    store = MemoryStore(StoreSettings(minimum_free=0), hasher=HASHER)
    await store.recover()
    holdings = Holdings(store, rng=random.Random(0))
    made: list[Side] = []

    async def find(message: FindReference) -> FoundReference:
        return await made[0].find(message)

    hello = PeerHello(PROTOCOL_VERSION, name[0] * 32, name, 5001)
    made.append(Side(store, holdings, Link(websocket, hello, holdings, find)))
    return made[0]


@asynccontextmanager
async def websockets(nursery: trio.Nursery) -> AsyncIterator[tuple[Any, Any]]:
    ours, theirs = memory_stream_pair()
    ends: dict[str, Any] = {}

    async def connect() -> None:
        ends["client"] = await trio_websocket.wrap_client_stream(nursery, ours, "memory", "/")

    async with trio.open_nursery() as connecting:
        connecting.start_soon(connect)
        request = await trio_websocket.wrap_server_stream(nursery, theirs)
        ends["server"] = await request.accept()
    yield ends["client"], ends["server"]


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Side, Side]]:
    """Two sides, linked."""
    async with trio.open_nursery() as nursery, websockets(nursery) as (one, two):
        sides = (await side(one, "left"), await side(two, "right"))

        async def run(mine: Side) -> None:
            await mine.link.greet()
            await mine.link.run()
            mine.ended.set()

        for mine in sides:
            nursery.start_soon(run, mine)
        await until(lambda: all(mine.link.theirs is not None for mine in sides))
        yield sides
        nursery.cancel_scope.cancel()
    for mine in sides:
        assert not mine.holdings._watchers
        mine.store.close()


@asynccontextmanager
async def against(act: Callable[[Any], Awaitable[None]]) -> AsyncIterator[Side]:
    """One side, linked to a peer that does what ``act`` does."""
    async with trio.open_nursery() as nursery, websockets(nursery) as (one, two):
        mine = await side(one, "left")

        async def run() -> None:
            await mine.link.greet()
            await mine.link.run()
            mine.ended.set()

        async def other() -> None:
            await two.send_message(encode(HELLO))
            await two.get_message()
            await act(two)

        nursery.start_soon(run)
        nursery.start_soon(other)
        await until(lambda: mine.link.theirs is not None)
        yield mine
        nursery.cancel_scope.cancel()
    mine.store.close()


async def grow(partial: Any, holdings: Holdings, first: int, count: int = 1) -> None:
    assert await partial.append(first, CONTENT.chunks(first, count))
    holdings.changed(CONTENT.digest)


# ── what is told ───────────────────────────────────────────────────────────────────────────────────


async def test_each_side_learns_who_the_other_is() -> None:
    async with pair() as (left, right):
        assert left.link.theirs is not None
        assert right.link.theirs is not None
        assert (left.link.theirs.name, right.link.theirs.name) == ("right", "left")


async def test_a_complete_blob() -> None:
    async with pair() as (left, right):
        await put(right.store, CONTENT)
        left.subscribe()
        assert await left.has(2) == [
            PeerState("it", CONTENT.size, True),
            PeerMidstates("it", 0, FULL.states, FULL.list_id()),
        ]


async def test_states_that_are_known_are_not_sent_again() -> None:
    async with pair() as (left, right):
        await put(right.store, CONTENT)
        left.subscribe(midstates=FULL.prefix(3))
        _state, midstates = await left.has(2)
        assert midstates == PeerMidstates("it", 3, FULL.states[3 * 32 :], FULL.list_id())
        left.subscribe(midstates=FULL)
        assert (await left.has(2))[1] == PeerMidstates("it", 4, b"", FULL.list_id())


async def test_a_list_of_ours_that_is_not_theirs_is_answered_from_the_start() -> None:
    other = Blob(bytes(CONTENT.size)).midstates
    async with pair() as (left, right):
        await put(right.store, CONTENT)
        left.subscribe(midstates=other)
        assert (await left.has(2))[1] == PeerMidstates("it", 0, FULL.states, FULL.list_id())


async def test_absent_then_growing_then_complete_then_gone() -> None:
    async with pair() as (left, right):
        left.subscribe()
        assert await left.has(1) == [PeerAbsent("it")]
        partial = await right.store.open_partial(CONTENT.digest, CONTENT.size)
        right.holdings.begin(partial)
        assert await left.has(2) == [
            PeerState("it", CONTENT.size, False, b"\x00"),
            PeerMidstates("it", 0, b"", NONE.list_id()),
        ]
        await grow(partial, right.holdings, 0, 2)
        assert await left.has(2) == [
            PeerHave("it", (0, 1)),
            PeerMidstates("it", 0, FULL.states[:64], FULL.prefix(2).list_id()),
        ]
        await grow(partial, right.holdings, 2, 2)
        assert await left.has(2) == [
            PeerHave("it", (2, 3)),
            PeerMidstates("it", 2, FULL.states[64:128], FULL.prefix(4).list_id()),
        ]
        await grow(partial, right.holdings, 4)
        assert await left.has(1) == [PeerHave("it", (4,))]
        await partial.commit()
        right.holdings.end(CONTENT.digest)
        await partial.close()
        assert await left.has(1) == [PeerState("it", CONTENT.size, True)]
        await right.store.remove(CONTENT.digest)
        right.holdings.changed(CONTENT.digest)
        assert await left.has(1) == [PeerAbsent("it")]
        right.holdings.changed(CONTENT.digest)
        await put(right.store, CONTENT)
        right.holdings.changed(CONTENT.digest)
        assert len(await left.has(2)) == 2


async def test_what_there_is_to_say_goes_out_in_one_piece() -> None:
    async with pair() as (left, right):
        left.subscribe()
        await left.has(1)
        partial = await right.store.open_partial(CONTENT.digest, CONTENT.size)
        right.holdings.begin(partial)
        await left.has(2)
        writes: list[int] = []
        stream: Any = right.link._channel._websocket._stream
        pump = stream.send_stream.send_all_hook

        async def count() -> None:
            writes.append(1)
            await pump()

        stream.send_stream.send_all_hook = count
        await grow(partial, right.holdings, 0, 2)
        assert [type(event) for event in await left.has(2)] == [PeerHave, PeerMidstates]
        assert len(writes) == 1
        await partial.close()


async def test_two_that_do_not_both_take_arrays_send_none() -> None:
    async with trio.open_nursery() as nursery, websockets(nursery) as (one, two):
        mine = await side(one, "left")
        await two.send_message(encode(HELLO))
        await mine.link.greet()
        assert read_message(await two.get_message()).together
        nursery.start_soon(mine.link.run)
        await two.send_message(encode(Subscribe(NAME)))
        assert read_message(await two.get_message()) == Absent(NAME)
        nursery.cancel_scope.cancel()
    mine.store.close()


async def test_a_list_that_fell_is_replaced_and_lost_chunks_are_told() -> None:
    false = Blob(CONTENT.data[: 2 * MIB] + bytes(CONTENT.size - 2 * MIB))
    async with pair() as (left, right):
        left.subscribe()
        await left.has(1)
        partial = await right.store.open_partial(CONTENT.digest, CONTENT.size)
        partial.adopt(false.midstates)
        assert all(await partial.write(0, false.chunks(0, 3)))
        right.holdings.begin(partial)
        state, midstates = await left.has(2)
        assert state.have == b"\x07"
        assert midstates.states == false.midstates.states
        await partial.relink(FULL)
        right.holdings.changed(CONTENT.digest)
        assert await left.has(2) == [
            PeerState("it", CONTENT.size, False, b"\x03"),
            PeerMidstates("it", 0, FULL.states, FULL.list_id()),
        ]


async def test_long_lists_and_many_chunks_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "STATES_A_MESSAGE", 3)
    monkeypatch.setattr(link_module, "HAVES_A_MESSAGE", 2)
    assert (STATES_A_MESSAGE, HAVES_A_MESSAGE) > (3, 2)
    async with pair() as (left, right):
        partial = await right.store.open_partial(CONTENT.digest, CONTENT.size)
        right.holdings.begin(partial)
        left.subscribe()
        await left.has(2)
        await grow(partial, right.holdings, 0, 5)
        assert await left.has(5) == [
            PeerHave("it", (0, 1)),
            PeerHave("it", (2, 3)),
            PeerHave("it", (4,)),
            PeerMidstates("it", 0, FULL.states[: 3 * 32], FULL.prefix(3).list_id()),
            PeerMidstates("it", 3, FULL.states[3 * 32 :], FULL.list_id()),
        ]


async def test_changes_of_a_slow_link_are_told_at_once() -> None:
    """What is pushed is composed when it is sent: many changes make one message."""
    async with pair() as (left, right):
        partial = await right.store.open_partial(CONTENT.digest, CONTENT.size)
        right.holdings.begin(partial)
        left.subscribe()
        await left.has(2)
        await partial.append(0, CONTENT.chunks(0, 5))
        for _ in range(100):
            right.holdings.changed(CONTENT.digest)
        assert len(await left.has(2)) == 2


async def test_both_sides_subscribe_to_each_other() -> None:
    other = blob(9, seed=4)
    async with pair() as (left, right):
        await put(right.store, CONTENT)
        await put(left.store, other)
        left.subscribe()
        right.subscribe(other, name="that")
        assert (await left.has(2))[0].complete
        assert (await right.has(2))[0] == PeerState("that", 9, True)


async def test_an_ended_subscription_is_told_nothing() -> None:
    async with pair() as (left, right):
        left.subscribe()
        await left.has(1)
        left.link.unsubscribe(CONTENT.digest)
        left.link.unsubscribe(CONTENT.digest)
        await until(lambda: not right.holdings._watchers)
        await put(right.store, CONTENT)
        right.holdings.changed(CONTENT.digest)
        left.subscribe(name="again")
        assert {event.peer for event in await left.has(2)} == {"again"}


# ── the end ────────────────────────────────────────────────────────────────────────────────────────


async def test_every_subscription_is_told_the_end() -> None:
    async with pair() as (left, right):
        left.subscribe()
        left.subscribe(blob(1), name="other")
        await left.has(2)
        right.link._end("enough")
        await left.ended.wait()
        await right.ended.wait()
        gone = await left.has(2)
        assert [type(event) for event in gone] == [PeerGone, PeerGone]
        assert {event.peer for event in gone} == {"it", "other"}
        assert left.link.closed
        assert right.link.closed


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x00" * 100_000,
        "text",
        encode(HELLO),
        encode(Subscribe(NAME))[:-3],
        encode(Have(NAME, (1,))) * 2,
        encode(Subscribe(NAME)).replace(b"sha256:", b"sha257:"),
    ],
    ids=["empty", "reserved", "zeros", "text", "second hello", "cut", "two in one", "no digest"],
)
async def test_what_is_no_message_ends_the_link(message: bytes | str) -> None:
    async def send(websocket: Any) -> None:
        await websocket.send_message(message)
        await trio.sleep_forever()

    async with against(send) as mine:
        mine.subscribe()
        with trio.fail_after(2):
            await mine.ended.wait()
        mine.subscribe(name="late")
        assert [type(event) for event in mine.told] == [PeerGone, PeerGone]


async def test_messages_about_what_nobody_asked_for_are_ignored() -> None:
    other = str(blob(7).digest)

    async def send(websocket: Any) -> None:
        await websocket.get_message()  # the subscription: what comes before it is nobody's either
        for message in (
            State(other, 7, True),
            Have(other, (0,)),
            MidstatesMessage(other, 0, b"", bytes(32)),
            Absent(other),
            FoundReference(77),
            Unsubscribe(other),
            Absent(NAME),
        ):
            await websocket.send_message(encode(message))
        await trio.sleep_forever()

    async with against(send) as mine:
        mine.subscribe()
        assert await mine.has(1) == [PeerAbsent("it")]


async def test_too_many_subscriptions_end_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SUBSCRIPTIONS", 3)
    assert SUBSCRIPTIONS > 3

    async def send(websocket: Any) -> None:
        for seed in range(4):
            await websocket.send_message(encode(Subscribe(str(blob(40, seed=seed).digest))))
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await websocket.get_message()

    async with against(send) as mine:
        with trio.fail_after(2):
            await mine.ended.wait()


async def test_a_peer_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONTROL", 10)

    async def wait(websocket: Any) -> None:
        await trio.sleep_forever()

    async with against(wait) as mine:
        mine.subscribe()
        await wait_all_tasks_blocked()
        for _ in range(1000):
            mine.subscribe(blob(1))
        await mine.ended.wait()
        assert all(isinstance(event, PeerGone) for event in mine.told)
        assert "waiting" in mine.told[0].reason


async def test_a_peer_that_is_gone_without_a_word(autojump_clock: MockClock) -> None:
    silent = trio.Event()

    async def mute(websocket: Any) -> None:
        websocket._stream.receive_stream.receive_some_hook = silent.wait
        websocket._stream.send_stream.send_all_hook = silent.wait
        await trio.sleep_forever()

    async with against(mute) as mine:
        mine.subscribe()
        await mine.ended.wait()
        assert "ping" in mine.told[-1].reason


async def test_one_that_answers_pings_stays(autojump_clock: MockClock) -> None:
    async with pair() as (left, right):
        await trio.sleep(600)
        assert not left.link.closed
        assert not right.link.closed


@pytest.mark.parametrize(
    "hello",
    [
        encode(PeerHello(PROTOCOL_VERSION + 1, "b" * 32, "new", 1)),
        encode(Absent(NAME)),
        b"garbage",
        "text",
    ],
    ids=["version", "no hello", "garbage", "text"],
)
async def test_greetings_that_are_refused(hello: bytes | str) -> None:
    async with trio.open_nursery() as nursery, websockets(nursery) as (one, two):
        mine = await side(one, "left")
        await two.send_message(hello)
        with pytest.raises(PeerError):
            await mine.link.greet()
        mine.store.close()
        nursery.cancel_scope.cancel()


async def test_a_greeting_that_never_comes(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, websockets(nursery) as (one, _):
        mine = await side(one, "left")
        with pytest.raises(PeerError, match="within 3 s"):
            await mine.link.greet()
        mine.store.close()
        nursery.cancel_scope.cancel()


# ── tags ───────────────────────────────────────────────────────────────────────────────────────────


async def test_tags_are_asked_for_and_answered() -> None:
    found = FoundReference(0, NAME, "application/x", 7, 1.5)
    async with pair() as (left, right):
        right.references["v1"] = found
        answer = await left.link.find_reference("test/app", "v1")
        assert (answer.digest, answer.media_type, answer.size, answer.age) == (NAME, "application/x", 7, 1.5)
        assert (await left.link.find_reference("test/app", "v2")).digest == ""
        assert not left.link._answers


async def test_a_question_ends_with_its_link() -> None:
    async with pair() as (left, right):
        right.gate = trio.Event()
        answers: list[FoundReference] = []

        async def ask() -> None:
            answers.append(await left.link.find_reference("test/app", "v1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: right.looking == 1)
            right.link._end("enough")
        assert answers[0].digest == ""


async def test_few_questions_are_looked_into_at_once() -> None:
    answers: list[Any] = []

    async def flood(websocket: Any) -> None:
        for number in range(ANSWERS + 50):
            await websocket.send_message(encode(FindReference(number, "test/app", "v1")))
        while True:
            answers.append(read_message(await websocket.get_message()))

    async with against(flood) as mine:
        mine.gate = trio.Event()
        mine.references["v1"] = FoundReference(0, NAME)
        await until(lambda: len(answers) == 50)
        assert mine.looking == ANSWERS
        assert all(answer.digest == "" for answer in answers)
        mine.gate.set()
        await until(lambda: len(answers) == ANSWERS + 50)
        assert {answer.request for answer in answers} == set(range(ANSWERS + 50))


async def test_what_is_confined_is_absent_also_for_who_subscribed_before() -> None:
    async with pair() as (left, right):
        confined: set[Digest] = set()
        right.holdings._confined = confined
        await put(right.store, CONTENT)
        left.subscribe()
        assert isinstance((await left.has(2))[0], PeerState)
        confined.add(CONTENT.digest)
        right.holdings.changed(CONTENT.digest)
        assert await left.has(1) == [PeerAbsent("it")]
        assert right.holdings.withheld == 1
        other = blob(5, seed=8)
        confined.add(other.digest)
        left.subscribe(other, name="other")
        assert await left.has(1) == [PeerAbsent("other")]
        assert right.holdings.withheld == 1  # there is nothing of it
