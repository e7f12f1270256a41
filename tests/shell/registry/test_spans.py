from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from p2p.errors import StoreCorruptError
from p2p.net.message import FileSpan
from p2p.registry.spans import closing, length_of, read_part


@pytest.fixture
def fd() -> Iterator[int]:
    fd = os.memfd_create("spans")
    os.write(fd, b"0123456789")
    yield fd
    os.close(fd)


def test_read_part(fd: int) -> None:
    assert read_part(FileSpan(fd, 2, 5)) == b"23456"
    assert read_part(FileSpan(fd, 2, 0)) == b""
    assert read_part(b"bytes") == b"bytes"


def test_a_file_that_ends_early_is_corrupt(fd: int) -> None:
    with pytest.raises(StoreCorruptError, match="3 bytes early"):
        read_part(FileSpan(fd, 8, 5))


def test_length(fd: int) -> None:
    assert length_of(FileSpan(fd, 8, 5)) == 5
    assert length_of(b"bytes") == 5


class Plain:
    """An iterator that can't be closed."""

    def __aiter__(self) -> AsyncIterator[FileSpan | bytes]:
        return self

    async def __anext__(self) -> FileSpan | bytes:
        return b"x"


async def test_closing_closes_what_can_be_closed() -> None:
    closed = []

    async def generator() -> AsyncIterator[FileSpan | bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            closed.append(True)

    async with closing(generator()) as spans:
        assert await anext(spans) == b"x"
    assert closed == [True]
    async with closing(Plain()) as spans:
        assert await anext(spans) == b"x"
