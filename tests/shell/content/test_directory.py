"""Shared content in a directory."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from p2p.content.api import ContentContext
from p2p.content.directory import DirectoryContent, open_directory
from p2p.errors import ConfigError, ContentError, ContentRefusedError
from tests.support.content_suite import KEY, ContentSuite, keys, put, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[DirectoryContent]:
    async with open_directory(ContentContext(f"file://{path}")) as content:
        yield content


class TestDirectory(ContentSuite):
    @pytest.fixture
    async def content(self, tmp_path: Path) -> AsyncIterator[DirectoryContent]:
        async with opened(tmp_path) as content:
            yield content


async def test_two_front_ends_see_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        await put(one, KEY, b"hello")
        assert await read(other, KEY) == b"hello"
        async with other.open(KEY) as body:
            await one.remove(KEY)
            assert b"".join([part async for part in body]) == b"hello"
        assert await keys(other) == []


async def test_what_a_crash_left_is_listed(tmp_path: Path) -> None:
    """So that it is found and removed as any orphan."""
    async with opened(tmp_path) as content:
        await put(content, KEY, b"hello")
        (tmp_path / "tmp/left").write_bytes(b"hel")
        assert await keys(content) == [KEY, "tmp/left"]
        await content.remove("tmp/left")
        assert await keys(content) == [KEY]


async def test_everything_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        sync(fd)
        done.append(str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix(str(tmp_path)).lstrip("/"))

    def renamed(source: str, target: str, **more: int) -> None:
        rename(source, target, **more)
        done.append(f"-> {target}")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    async with opened(tmp_path) as content:
        await put(content, KEY, b"hello")
        assert done[0] == ""
        assert done[1].startswith("tmp/")
        assert done[2:] == ["", "sha256", f"-> {KEY}", "sha256/ab"]
        done.clear()
        await content.remove(KEY)
        assert done == ["sha256/ab"]


async def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with opened(tmp_path) as content:
        await put(content, "sha256/ab/other", b"")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(ContentError, match=r"No space left.*room"):
                await put(content, KEY, b"hello")
        assert await keys(content) == ["sha256/ab/other"]


async def test_what_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    async with opened(tmp_path) as content:
        monkeypatch.setattr(os, "rename", refused)
        with pytest.raises(ContentRefusedError, match=r"Permission denied.*user write there"):
            await put(content, KEY, b"hello")


async def test_an_older_directory_is_looked_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, stale = os.open, [errno.ESTALE]

    def once(path: str, flags: int, *more: object, **named: object) -> int:
        if path == KEY and stale:
            raise OSError(stale.pop(), "stale")
        return real(path, flags, *more, **named)  # type: ignore[arg-type]

    async with opened(tmp_path) as content:
        await put(content, KEY, b"hello")
        monkeypatch.setattr(os, "open", once)
        assert await read(content, KEY) == b"hello"
        assert not stale


@pytest.mark.parametrize("url", ["file://host/x", "file:x", "file:///x?y"])
async def test_urls_that_name_no_directory(url: str) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        async with open_directory(ContentContext(url)):
            raise AssertionError


async def test_options_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without options"):
        async with open_directory(ContentContext(f"file://{tmp_path}", ("region=x",))):
            raise AssertionError


async def test_a_directory_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ContentRefusedError, match=r"No such file.*Mount it"):
        async with opened(tmp_path / "none"):
            raise AssertionError


async def test_what_is_mounted_over_it_later_is_another(tmp_path: Path) -> None:
    """A directory that is moved away, as an unmounted one is: nothing goes to the one in its place."""
    path = tmp_path / "mount"
    path.mkdir()
    async with opened(path) as content:
        path.rename(tmp_path / "away")
        path.mkdir()
        await put(content, KEY, b"hello")
        assert await read(content, KEY) == b"hello"
        assert not list(path.iterdir())
