"""The quick stream over real sockets."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.net.quick_stream import QuickStream


async def pair() -> tuple[QuickStream, QuickStream]:
    one, other = socket.socketpair()
    return QuickStream(one), QuickStream(other)


def clog(sock: socket.socket) -> None:
    """Fill what the kernel keeps for it."""
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


async def test_bytes_both_ways_and_the_end() -> None:
    one, other = await pair()
    await one.send_all(b"there")
    await other.send_all(memoryview(b"back"))
    assert await other.receive_some() == b"there"
    assert await one.receive_some(2) == b"ba"
    assert await one.receive_some() == b"ck"
    await one.aclose()
    await one.aclose()
    assert await other.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")
    await other.aclose()
    for closed in (other.receive_some(), other.send_all(b"x"), other.wait_send_all_might_not_block()):
        with pytest.raises(trio.ClosedResourceError):
            await closed


async def test_more_than_the_socket_takes() -> None:
    one, other = await pair()
    data, got = bytes(range(256)) * 40_000, bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, data)
        while len(got) < len(data):
            got += await other.receive_some()
    assert got == data
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize("full", ["send_all", "wait_send_all_might_not_block"])
async def test_a_close_wakes_who_waits(full: str) -> None:
    one, other = await pair()
    clog(one._sock)
    woken: list[str] = []

    async def waits(method: str, *arguments: bytes) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(one, method)(*arguments)
        woken.append(method)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits, "receive_some")
        nursery.start_soon(waits, full, *([b"x"] if full == "send_all" else []))
        await wait_all_tasks_blocked()
        await one.aclose()
    assert sorted(woken) == ["receive_some", full]
    await other.aclose()


async def test_a_reset_is_a_broken_stream() -> None:
    one, other = await pair()
    await one.send_all(b"unread")
    await other.aclose()  # with bytes unread: a reset
    with pytest.raises(trio.BrokenResourceError):
        await one.receive_some()
    await one.aclose()
