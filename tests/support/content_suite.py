"""What every implementation of ``SharedContent`` must do; subclass it with a ``content`` fixture."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.errors import ContentError, ContentMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from p2p.content.api import SharedContent

KEY = "sha256/ab/abcdef.one"
LARGE = 20 << 20
"""More than goes into one request of any implementation."""


@contextmanager
def file_of(data: bytes) -> Iterator[int]:
    """An open file that holds these bytes."""
    fd = os.memfd_create("content")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


async def put(content: SharedContent, key: str, data: bytes) -> None:
    """Put bytes."""
    with file_of(data) as fd:
        await content.put(key, fd, len(data))


async def read(content: SharedContent, key: str, offset: int = 0, stop: int | None = None) -> bytes:
    """Read bytes, and check that they are as many as they are said to be."""
    async with content.open(key, offset, stop) as body:
        data = b"".join([part async for part in body])
        end = body.size if stop is None else min(stop, body.size)
        assert body.offset == offset
        assert len(data) == end - offset
    return data


async def keys(content: SharedContent, last: str = "", n: int = 1000) -> list[str]:
    """List keys."""
    return [one.key for one in await content.keys(last, n)]


class ContentSuite:
    """Each test gets an empty ``content``."""

    async def test_what_was_put_is_read(self, content: SharedContent) -> None:
        await put(content, KEY, b"hello")
        assert await read(content, KEY) == b"hello"
        async with content.open(KEY) as body:
            assert (body.size, body.offset) == (5, 0)

    async def test_nothing_is_something(self, content: SharedContent) -> None:
        await put(content, KEY, b"")
        assert await read(content, KEY) == b""
        assert [one.size for one in await content.keys()] == [0]

    @pytest.mark.slow
    async def test_a_large_one(self, content: SharedContent) -> None:
        data = random.Random(1).randbytes(LARGE + 12345)
        await put(content, KEY, data)
        assert await read(content, KEY) == data
        assert await read(content, KEY, LARGE) == data[LARGE:]

    async def test_only_so_many_bytes_of_a_file(self, content: SharedContent) -> None:
        with file_of(b"hello and more") as fd:
            os.lseek(fd, 3, os.SEEK_SET)
            await content.put(KEY, fd, 5)
            assert os.lseek(fd, 0, os.SEEK_CUR) == 3
        assert await read(content, KEY) == b"hello"

    async def test_a_file_that_is_shorter_is_not_put(self, content: SharedContent) -> None:
        with file_of(b"short") as fd:
            try:
                await content.put(KEY, fd, 6)
            except ContentError:
                assert await keys(content) == []
            else:
                assert await read(content, KEY) == b"short"  # in memory there is no such file

    @pytest.mark.parametrize(("offset", "stop"), [(0, 3), (1, None), (2, 4), (5, None), (0, 99), (4, 5)])
    async def test_parts(self, content: SharedContent, offset: int, stop: int | None) -> None:
        await put(content, KEY, b"hello")
        assert await read(content, KEY, offset, stop) == b"hello"[offset:stop]

    async def test_a_buffer_is_filled_as_far_as_it_goes(self, content: SharedContent) -> None:
        await put(content, KEY, b"hello world")
        async with content.open(KEY) as body:
            buffer = memoryview(bytearray(8))
            assert await body.read_into(buffer) == 8
            assert bytes(buffer) == b"hello wo"
            assert await body.read_into(buffer) == 3
            assert await body.read_into(buffer) == 0

    async def test_what_is_not_there(self, content: SharedContent) -> None:
        with pytest.raises(ContentMissingError, match=r"no object sha256/ab/abcdef\.one"):
            async with content.open(KEY):
                raise AssertionError
        await content.remove(KEY)
        assert await keys(content) == []

    async def test_what_is_removed_is_gone(self, content: SharedContent) -> None:
        await put(content, KEY, b"hello")
        await content.remove(KEY)
        assert await keys(content) == []
        with pytest.raises(ContentMissingError):
            async with content.open(KEY):
                raise AssertionError
        await put(content, KEY, b"hello")
        assert await read(content, KEY) == b"hello"

    async def test_the_same_again(self, content: SharedContent) -> None:
        for _ in range(2):
            await put(content, KEY, b"hello")
        assert await read(content, KEY) == b"hello"
        assert await keys(content) == [KEY]

    async def test_keys_come_in_pages_and_in_order(self, content: SharedContent) -> None:
        names = ["a/b/c.1", "a/b/c.2", "a/b-", "a/b0", "a.b", "b/1", "b/a/x", "owner/1", "z"]
        for number, name in enumerate(names):
            await put(content, name, b"x" * number)
        assert await keys(content) == sorted(names)
        assert await keys(content, n=2) == sorted(names)[:2]
        for after in (*names, "a", "a/", "a/b", "a/b/", "a/b/c", "c", "zz"):
            assert await keys(content, after) == [name for name in sorted(names) if name > after], after
            assert await keys(content, after, 1) == [name for name in sorted(names) if name > after][:1]
        assert {one.key: one.size for one in await content.keys()} == {n: i for i, n in enumerate(names)}

    async def test_when_it_was_put(self, content: SharedContent) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        await put(content, KEY, b"x")
        (one,) = await content.keys()
        assert before <= one.modified <= datetime.now(UTC) + timedelta(seconds=2)

    async def test_many_at_once(self, content: SharedContent) -> None:
        async def one(number: int) -> None:
            key = f"sha256/{number:02}/x.{number}"
            data = bytes([number]) * (number * 1000)
            await put(content, key, data)
            assert await read(content, key) == data
            if number % 2:
                await content.remove(key)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
        assert len(await keys(content)) == 10

    async def test_a_reader_that_leaves_early(self, content: SharedContent) -> None:
        await put(content, KEY, bytes(3 << 20))
        for _ in range(3):
            async with content.open(KEY) as body:
                assert await body.read_into(memoryview(bytearray(10))) == 10
        assert len(await read(content, KEY)) == 3 << 20

    async def test_who_puts_is_cancelled(self, content: SharedContent) -> None:
        """Nobody sees a part of it, and it can be put again."""
        data = bytes(LARGE)
        with file_of(data) as fd, trio.CancelScope() as scope:
            scope.cancel()
            await content.put(KEY, fd, len(data))
        assert scope.cancelled_caught
        assert KEY not in await keys(content) or await read(content, KEY) == data
        await put(content, KEY, b"hello")
        assert await read(content, KEY) == b"hello"
