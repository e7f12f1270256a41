"""One swarm's shell among liars: no wrong byte reaches a reader, the guilty are named, the honest are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from p2p.core.swarm.chunks import MAX_BLOB
from p2p.core.wire.peer import Absent, Have, Midstates, State, Subscribe
from p2p.errors import OriginProtocolError, VerificationError
from tests.support.cluster import cluster, read_range
from tests.support.http_rig import until
from tests.support.liar import damaged, range_head
from tests.support.store_rig import MIB, Blob, blob

if TYPE_CHECKING:
    from trio.testing import MockClock

CONTENT = blob(5 * MIB + 77)


def fake(content: Blob, *chunks: int) -> dict[str, Any]:
    """A false list, and the bytes that hold under it."""
    evil = Blob(damaged(content, *chunks), content.algorithm)
    return {"data": evil.data, "states": evil.midstates}


@pytest.fixture
def fast_clock(mock_clock: MockClock) -> MockClock:
    """Times of seconds pass in a twentieth of them: stalls, patience."""
    mock_clock.rate = 20
    return mock_clock


class Watched:
    """A reader that compares each byte as it comes."""

    def __init__(self, node: Any, content: Blob) -> None:
        self.node = node
        self.content = content
        self.at = 0

    def __call__(self, part: bytes) -> None:
        right = self.content.data[self.at : self.at + len(part)]
        assert part == right, f"a wrong byte reached the reader between {self.at} and {self.at + len(part)}"
        self.at += len(part)

    async def read(self) -> None:
        async with self.node.open(self.content) as stream:
            await read_range(stream, 0, stream.size, seen=self)
        assert self.at == self.content.size


@pytest.mark.parametrize("chunks", [(0,), (2,), (5,), range(6)], ids=["first", "middle", "last", "all"])
async def test_wrong_bytes_under_the_right_list(chunks: Any) -> None:
    async with cluster() as world:
        liar = await world.liar(CONTENT, data=damaged(CONTENT, *chunks))
        world.origin.hold(CONTENT)
        honest, victim = await world.start(2)
        await honest.hold(CONTENT)
        await Watched(victim, CONTENT).read()
        await victim.settled()
        statistics = victim.engine.statistics()
        assert statistics.strikes == min(1, statistics.chunks_refused)
        assert statistics.banned == {}
        assert victim.kept(CONTENT) == CONTENT.data
        if len(chunks) == 6:
            assert liar.asked
            assert statistics.strikes == 1


async def test_a_second_strike_bans_and_names_the_liar() -> None:
    one, two = CONTENT, blob(3 * MIB, seed=2)
    async with cluster() as world:
        world.origin.hold(one)
        world.origin.hold(two)
        world.board.leases = False
        first = await world.liar(one, data=damaged(one, *range(6)))
        honest, victim = await world.start(2)
        await honest.hold(one, two)
        await Watched(victim, one).read()
        assert victim.engine.statistics().strikes == 1
        first.blob, first.data, first.states = two, damaged(two, 0, 1, 2), two.midstates
        await Watched(victim, two).read()
        statistics = victim.engine.statistics()
        assert (statistics.strikes, statistics.bans) == (2, 1)
        assert list(statistics.banned) == [first.node]
        assert "fails against its own list" in statistics.banned[first.node]
        assert honest.id not in statistics.banned


@pytest.mark.parametrize("chunk", [0, 2, 5])
@pytest.mark.parametrize("honest_peer", [True, False], ids=["honest peer", "origin only"])
async def test_a_false_list_with_matching_bytes(chunk: int, honest_peer: bool) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        liar = await world.liar(CONTENT, **fake(CONTENT, chunk))
        victim = await world.node("victim")
        if honest_peer:
            honest = await world.node("honest")
            await honest.hold(CONTENT)
        await Watched(victim, CONTENT).read()
        await victim.settled()
        assert victim.kept(CONTENT) == CONTENT.data
        assert set(victim.banned()) <= {liar.node}


async def test_only_false_lists_and_an_origin_without_the_blob() -> None:
    async with cluster() as world:
        await world.liar(CONTENT, **fake(CONTENT, 0))
        victim = await world.node("victim")
        seen = Watched(victim, CONTENT)
        with trio.move_on_after(1), pytest.raises(Exception):  # noqa: B017, PT012 - whatever it is, no wrong byte
            await seen.read()
            pytest.fail("a blob came that nobody has")
        assert seen.at < CONTENT.size


# ── answers that break the protocol ────────────────────────────────────────────────────────────────


async def missing(stream, first, stop):
    await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def busy(stream, first, stop):
    await stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


async def whole(stream, first, stop):
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % CONTENT.size + CONTENT.data)


async def other_range(stream, first, stop):
    await stream.send_all(range_head(first + 1, stop + 1, CONTENT.size) + CONTENT.data[first:stop])


async def other_length(stream, first, stop):
    await stream.send_all(range_head(first, stop, CONTENT.size, length=5) + b"short")


async def encoded(stream, first, stop):
    head = range_head(first, stop, CONTENT.size, more="Content-Encoding: gzip\r\n")
    await stream.send_all(head + CONTENT.data[first:stop])


async def cut(stream, first, stop):
    await stream.send_all(range_head(first, stop, CONTENT.size) + CONTENT.data[first : first + 1000])
    await stream.aclose()


async def garbage(stream, first, stop):
    await stream.send_all(b"\x00\xff garbage\r\n\r\n" * 100)


async def endless_head(stream, first, stop):
    await stream.send_all(b"HTTP/1.1 206 Partial Content\r\n" + b"X: y\r\n" * 10_000)


async def hang_up(stream, first, stop):
    await stream.aclose()


@pytest.mark.parametrize(
    "answer",
    [missing, busy, whole, other_range, other_length, encoded, cut, garbage, endless_head, hang_up],
    ids=lambda answer: answer.__name__,
)
async def test_answers_that_break_the_protocol(answer: Any) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        liar = await world.liar(CONTENT, answer=answer)
        victim = await world.node("victim")
        await Watched(victim, CONTENT).read()
        await victim.settled()
        assert victim.kept(CONTENT) == CONTENT.data
        # Clumsy is not guilty: only bytes or lists that are proven wrong are.
        assert victim.engine.statistics().strikes == 0
        assert liar.connections


@pytest.mark.slow
async def test_a_peer_that_stalls(fast_clock: MockClock) -> None:
    async def stall(stream: trio.SocketStream, first: int, stop: int) -> None:
        await stream.send_all(range_head(first, stop, CONTENT.size))
        await stream.receive_some(1)

    async with cluster() as world:
        world.origin.hold(CONTENT)
        liar = await world.liar(CONTENT, answer=stall)
        honest, victim = await world.start(2)
        await honest.hold(CONTENT)
        await Watched(victim, CONTENT).read()
        assert liar.asked
        assert victim.engine.statistics().strikes == 0
        assert victim.engine.statistics().received_origin == 0


async def test_the_swarm_hears_of_a_slow_answer_whose_bytes_come() -> None:
    heard = trio.Event()

    async def halting(stream: trio.SocketStream, first: int, stop: int) -> None:
        await stream.send_all(range_head(first, stop, CONTENT.size))
        while not heard.is_set() and first + 1000 < stop:
            await stream.send_all(CONTENT.data[first : first + 1000])
            first += 1000
            with trio.move_on_after(0.1):
                await heard.wait()
        await stream.send_all(CONTENT.data[first:stop])

    async with cluster() as world:
        await world.liar(CONTENT, answer=halting)
        victim = await world.node("victim")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Watched(victim, CONTENT).read)
            runners = victim.engine._runners
            await until(
                lambda: any(
                    one.received >= 1000
                    for runner in runners.values()
                    for one in runner.swarm.requests.pending.values()
                )
            )
            heard.set()


@pytest.mark.slow
@pytest.mark.parametrize("honest_peer", [True, False], ids=["honest peer", "origin only"])
async def test_a_peer_that_drips(honest_peer: bool, mock_clock: MockClock) -> None:
    mock_clock.rate = 50

    async def drip(stream: trio.SocketStream, first: int, stop: int) -> None:
        await stream.send_all(range_head(first, stop, CONTENT.size))
        for at in range(first, stop):
            await stream.send_all(CONTENT.data[at : at + 1])
            await trio.sleep(1)

    async with cluster() as world:
        world.origin.hold(CONTENT)
        await world.liar(CONTENT, answer=drip)
        victim = await world.node("victim")
        if honest_peer:
            honest = await world.node("honest")
            await honest.hold(CONTENT)
        began = trio.current_time()
        await Watched(victim, CONTENT).read()
        assert trio.current_time() - began < 60
        assert victim.engine.statistics().strikes == 0


# ── messages that break the exchange ───────────────────────────────────────────────────────────────


def _all(message: Subscribe, *before: Any) -> list[Any]:
    states = CONTENT.midstates
    return [
        *before,
        State(message.digest, CONTENT.size, complete=True),
        Midstates(message.digest, 0, states.states, states.list_id()),
    ]


MESSAGES: dict[str, Any] = {
    "oversized": lambda m: [b"\x00" * (2 << 20)],
    "garbage": lambda m: [b"\xc1\xff\x00garbage"],
    "text": lambda m: ["no bytes"],
    "another size": lambda m: [State(m.digest, CONTENT.size + 1, complete=True)],
    "absurd size": lambda m: [State(m.digest, MAX_BLOB + 1, complete=True)],
    "bitfield too long": lambda m: [State(m.digest, CONTENT.size, complete=False, have=b"\xff" * 9)],
    "bitfield beyond the end": lambda m: [State(m.digest, CONTENT.size, complete=False, have=b"\xff")],
    "chunk that does not exist": lambda m: [*_all(m), Have(m.digest, (99,))],
    "list too long": lambda m: [*_all(m), Midstates(m.digest, 0, bytes(32 * 9), bytes(32))],
    "list id that does not fit": lambda m: [*_all(m)[:1], Midstates(m.digest, 0, bytes(32), bytes(32))],
    "list from nowhere": lambda m: [*_all(m)[:1], Midstates(m.digest, 3, bytes(32), bytes(32))],
    "state before all": lambda m: [Midstates(m.digest, 0, bytes(32), bytes(32)), Have(m.digest, (0,))],
    "absent, yet it has": lambda m: [Absent(m.digest), Have(m.digest, (0, 1, 2)), *_all(m)],
    "nothing": lambda m: [],
}


@pytest.mark.slow
async def test_a_peer_that_lies_about_an_unknown_size(fast_clock: MockClock) -> None:
    def too_long(message: Subscribe) -> list[Any]:
        return [State(message.digest, CONTENT.size + 1, complete=True)]

    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.board.leases = False
        await world.liar(CONTENT, messages=too_long)
        victim = await world.node("victim")
        async with trio.open_nursery() as nursery:

            async def allow() -> None:
                await until(lambda: bool(victim.engine.swarms()) and victim.engine.swarms()[0].size > 0)
                world.board.leases = True
                world.board.changed(str(CONTENT.digest))

            nursery.start_soon(allow)
            assert await victim.read(CONTENT, size=0) == CONTENT.data


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
async def test_messages_that_break_the_exchange(name: str, known: bool) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        await world.liar(CONTENT, messages=MESSAGES[name])
        honest, victim = await world.start(2)
        await honest.hold(CONTENT)
        with trio.fail_after(8):
            assert await victim.read(CONTENT, size=None if known else 0) == CONTENT.data
        assert honest.id not in victim.banned()
        # The node lives: it takes part as before.
        assert await honest.read(CONTENT) == CONTENT.data


@pytest.mark.parametrize(
    "hello", [None, b"\x93\xa5hello\x01\x02", "text", b"", Absent("sha256:" + "0" * 64)], ids=repr
)
@pytest.mark.slow
async def test_greetings_that_are_none(hello: Any, fast_clock: MockClock) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        await world.liar(CONTENT, hello=hello)
        victim = await world.node("victim")
        await Watched(victim, CONTENT).read()
        await until(lambda: len(victim.links) == 0)


# ── the origin ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_origin_that_gives_other_bytes_is_named_and_nothing_is_kept() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT, damaged(CONTENT, 1))
        node = await world.node()
        with pytest.raises(OriginProtocolError, match="does not have this digest"):
            await node.read(CONTENT)
        await node.settled()
        assert node.store.partials() == []


async def _end_held_back(lies: dict[str, Any], messages: Any) -> tuple[int, Exception | None]:
    """Read among a liar who sends all but the last chunk; the right list comes only after that."""
    failure: list[Exception] = []

    async def all_but_the_end(stream: trio.SocketStream, first: int, stop: int) -> None:
        if stop == CONTENT.size:
            await trio.sleep_forever()
        await stream.send_all(range_head(first, stop, CONTENT.size) + lies["data"][first:stop])

    async with cluster() as world:
        world.board.leases = False
        world.origin.hold(CONTENT)
        await world.liar(CONTENT, **lies, answer=all_but_the_end, messages=messages)
        victim = await world.node("victim")
        taken = bytearray()

        async def read() -> None:
            try:
                async with victim.open(CONTENT) as stream:
                    await read_range(stream, 0, stream.size, seen=taken.extend)
            except VerificationError as error:
                failure.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until(lambda: victim.engine.statistics().chunks_verified > 0)
            await trio.testing.wait_all_tasks_blocked()
            world.board.leases = True
            world.board.changed(str(CONTENT.digest))
        assert len(taken) < CONTENT.size or bytes(taken) == CONTENT.data
        # The next one reads what is right.
        await Watched(victim, CONTENT).read()
        await victim.settled()
        assert victim.kept(CONTENT) == CONTENT.data
        return len(taken), failure[0] if failure else None


@pytest.mark.slow
async def test_a_false_list_whose_end_is_held_back(fast_clock: MockClock) -> None:
    """Whoever claims all is asked for the end first, and believed in nothing before."""
    taken, failure = await _end_held_back(fake(CONTENT, 0), None)
    assert (taken, failure) == (CONTENT.size, None)


async def test_a_false_list_that_grows() -> None:
    """It can't be held against the digest yet: its reader is cut before the end, and never completed."""
    lies = fake(CONTENT, 0)

    def part(message: Subscribe) -> list[Any]:
        states = lies["states"].prefix(3)
        return [
            State(message.digest, CONTENT.size, complete=False, have=b"\x07"),
            Midstates(message.digest, 0, states.states, states.list_id()),
        ]

    taken, failure = await _end_held_back(lies, part)
    assert failure is not None
    assert taken < CONTENT.size


@pytest.mark.slow
async def test_without_links_nothing_is_read_before_the_whole_is_proven() -> None:
    async with cluster() as world:
        liar = await world.liar(CONTENT, data=damaged(CONTENT, 1))
        world.board.leases = False
        victim = await world.node("victim", links=False)
        seen = Watched(victim, CONTENT)
        with pytest.raises(VerificationError):
            await seen.read()
        assert seen.at == 0
        assert liar.asked
        await victim.settled()
        # What is wrong can't be told from what is right, so nothing is kept; the next one begins anew.
        assert victim.store.partials() == []
        world.board.extra.clear()
        world.board.leases = True
        world.origin.hold(CONTENT)
        await seen.read()
        await victim.settled()
        assert victim.kept(CONTENT) == CONTENT.data
