"""Filling memory from a socket, with whatever pace the other side has."""

import os
import socket

import pytest
import trio

from p2p.net.receive import WATERMARK, fill


def lowat(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


async def pair():
    """Two ends of a real TCP connection, as ``fill`` gets them."""
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = trio.socket.socket()
        await near.connect(listener.getsockname())
        far, _ = await listener.accept()
    return near, far


async def send_all(sock, data):
    view = memoryview(data)
    while view:
        view = view[await sock.send(view) :]


@pytest.mark.parametrize("size", [0, 1, 2, 1000, WATERMARK, WATERMARK + 1, 3_000_001])
async def test_all_bytes_arrive_in_order(size):
    near, far = await pair()
    data, buffer = os.urandom(size), bytearray(size)
    with near, far:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, far, data + b"next")
            assert await fill(near, memoryview(buffer), patience=5) == size
        assert buffer == data
        assert lowat(near) == 1
        assert await near.recv(100) == b"next"  # not a byte more was taken


async def test_an_early_end_gives_what_came():
    near, far = await pair()
    with near:
        with far:
            await send_all(far, b"x" * 70_000)
        assert await fill(near, memoryview(bytearray(1 << 20)), patience=5) == 70_000


@pytest.mark.slow
async def test_silence_is_too_slow():
    near, far = await pair()
    with near, far:
        with pytest.raises(trio.TooSlowError):
            await fill(near, memoryview(bytearray(1 << 20)), patience=0.1)
        assert lowat(near) == 1


@pytest.mark.slow
async def test_less_than_the_watermark_is_not_silence():
    near, far = await pair()
    buffer = bytearray(WATERMARK * 2)
    with near, far:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill_whole, near, buffer)
            # A tenth of what wakes the reader, then the rest once it must have looked.
            await send_all(far, b"a" * (WATERMARK // 10))
            while near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) and buffer[0] != ord("a"):
                await trio.lowlevel.checkpoint()
            await send_all(far, b"b" * (len(buffer) - WATERMARK // 10))
        assert buffer.count(b"a") == WATERMARK // 10


async def fill_whole(sock, buffer):
    assert await fill(sock, memoryview(buffer), patience=0.2) == len(buffer)


@pytest.mark.slow
async def test_a_drip_ends_at_the_latest_time():
    near, far = await pair()
    with near, far:
        async with trio.open_nursery() as nursery:

            async def drip():
                while True:
                    await far.send(b"x")
                    await trio.lowlevel.checkpoint()
                    await trio.sleep(0.01)  # the pace is what is tested

            nursery.start_soon(drip)
            with pytest.raises(trio.TooSlowError):
                await fill(
                    near, memoryview(bytearray(1 << 20)), patience=0.1, latest=trio.current_time() + 0.3
                )
            nursery.cancel_scope.cancel()


async def test_cancelled_it_leaves_the_socket_as_it_was():
    near, far = await pair()
    with near, far:
        with trio.CancelScope() as scope:
            scope.cancel()
            await fill(near, memoryview(bytearray(1 << 20)), patience=5)
        assert scope.cancelled_caught
        assert lowat(near) == 1


async def test_a_slow_one_is_told_of_while_its_bytes_come():
    near, far = await pair()
    told = []
    with near, far:
        async with trio.open_nursery() as nursery:

            async def send_slowly():
                await send_all(far, b"a" * 1000)
                while not told:
                    await trio.lowlevel.checkpoint()
                await send_all(far, b"b" * 9000)

            nursery.start_soon(send_slowly)
            assert await fill(near, memoryview(bytearray(10_000)), patience=5, flowing=told.append) == 10_000
    assert told == [1000]
