"""A body that comes from calls that block."""

from __future__ import annotations

import pytest
import trio

from p2p.content.body import ThreadBody
from p2p.errors import ContentError


def body(*parts: bytes | Exception, size: int) -> ThreadBody:
    left = list(parts)

    def fill(view: memoryview) -> int:
        if not left:
            return 0
        part = left.pop(0)
        if isinstance(part, Exception):
            raise part
        view[: len(part)] = part
        return len(part)

    return ThreadBody(
        "memory://x",
        fill,
        size=size,
        offset=0,
        stop=size,
        limiter=trio.CapacityLimiter(1),
        mapped=lambda error: ContentError("memory://x", f"mapped {error}"),
    )


async def test_parts_make_a_whole() -> None:
    one = body(b"ab", b"c", b"def", size=6)
    buffer = memoryview(bytearray(10))
    assert await one.read_into(buffer) == 6
    assert bytes(buffer[:6]) == b"abcdef"
    assert await one.read_into(buffer) == 0


async def test_an_end_before_the_end() -> None:
    with pytest.raises(ContentError, match="3 bytes before its end"):
        await body(b"abc", size=6).read_into(memoryview(bytearray(6)))


async def test_errors_are_mapped() -> None:
    with pytest.raises(ContentError, match="mapped no"):
        await body(b"a", OSError("no"), size=6).read_into(memoryview(bytearray(6)))
    with pytest.raises(ContentError, match=r"^memory://y: known"):
        await body(ContentError("memory://y", "known"), size=6).read_into(memoryview(bytearray(6)))


async def test_iterating() -> None:
    assert [part async for part in body(b"abc", size=3)] == [b"abc"]
