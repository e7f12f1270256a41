from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from p2p.net.errors import BrokenBodyError, ClientGoneError
from p2p.net.message import FileSpan, Spans
from p2p.net.spans import PIPELINE_BYTES, aclose, send_spans
from p2p.net.stream_transport import StreamTransport
from p2p.net.wire import Wire

Stream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


def pair() -> tuple[Wire, Stream]:
    ours, theirs = trio.testing.memory_stream_pair()
    return Wire(StreamTransport(ours, peer="x", timeout=30, rate=0), header_bytes=1000), theirs


class Parts:
    """Parts that are told, and whether they were closed."""

    def __init__(self, *parts: bytes | Exception | None) -> None:
        self.parts = parts
        self.closed = 0

    async def __call__(self) -> AsyncIterator[FileSpan | bytes]:
        try:
            for part in self.parts:
                match part:
                    case None:
                        await trio.sleep_forever()
                    case Exception():
                        raise part
                    case bytes():
                        yield part
        finally:
            self.closed += 1


async def test_head_and_parts() -> None:
    wire, client = pair()
    parts = Parts(b"ab", b"", b"c")
    await send_spans(wire, Spans(3, parts), b"head:")
    assert await client.receive_some() == b"head:abc"
    assert parts.closed == 1


@pytest.mark.parametrize(
    ("given", "match"),
    [((b"ab",), "ended after 2 of 3"), ((b"ab", b"cd"), "ran over"), ((b"abc", b"d"), "ran over")],
)
async def test_parts_that_do_not_add_up(given: tuple[bytes, ...], match: str) -> None:
    wire, _ = pair()
    parts = Parts(*given)
    with pytest.raises(BrokenBodyError, match=match):
        await send_spans(wire, Spans(3, parts), b"")
    assert parts.closed == 1


async def test_what_parts_raise_comes_out_as_it_is() -> None:
    wire, _ = pair()
    with pytest.raises(ZeroDivisionError):
        await send_spans(wire, Spans(3, Parts(b"a", ZeroDivisionError())), b"")

    def broken() -> AsyncIterator[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await send_spans(wire, Spans(3, broken), b"")


async def test_a_client_that_leaves_while_a_part_is_waited_for() -> None:
    wire, client = pair()
    parts = Parts(b"a", None)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def leave() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()

        with pytest.raises(ClientGoneError):
            await send_spans(wire, Spans(3, parts), b"")
    assert parts.closed == 1


async def test_a_client_that_ends_its_side_after_all_was_sent_did_not_leave() -> None:
    wire, client = pair()

    async def parts() -> AsyncIterator[bytes]:
        yield b"abc"
        await client.send_eof()
        await trio.testing.wait_all_tasks_blocked()

    await send_spans(wire, Spans(3, parts), b"")
    assert await client.receive_some() == b"abc"
    assert wire.eof


async def test_pipelined_requests_are_kept_within_bounds() -> None:
    wire, client = pair()
    await client.send_all(b"x" * (PIPELINE_BYTES * 3))

    async def parts() -> AsyncIterator[bytes]:
        await trio.testing.wait_all_tasks_blocked()
        yield b"abc"

    await send_spans(wire, Spans(3, parts), b"")
    assert PIPELINE_BYTES <= len(wire.left_over()) < 2 * PIPELINE_BYTES


async def test_cancelling_closes_the_parts() -> None:
    wire, _ = pair()
    parts = Parts(b"a", None)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel() -> None:
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()

            await send_spans(wire, Spans(3, parts), b"")
    assert scope.cancelled_caught
    assert parts.closed == 1


async def test_parts_may_hold_scopes_open_between_them() -> None:
    wire, client = pair()

    async def parts() -> AsyncIterator[bytes]:
        with trio.CancelScope():
            yield b"a"
            await trio.lowlevel.checkpoint()
            yield b"b"

    await send_spans(wire, Spans(2, parts), b"")
    assert await client.receive_some() == b"ab"


async def test_closing_what_has_nothing_to_close() -> None:
    class Plain:
        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

    await aclose(Plain())
