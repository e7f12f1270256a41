"""Shared content's part of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from p2p.config import HostingSettings
from p2p.content.directory import DirectoryContent
from p2p.content.memory import MemoryContent
from p2p.core.oci.reference import Repository
from p2p.errors import ContentRefusedError
from p2p.metadata.hosting import HOSTED
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.node.sharing import Sources, open_shared
from p2p.registry.shared_origin import SharedOrigin
from tests.support.registry_rig import MemoryOrigin, MemoryOrigins

if TYPE_CHECKING:
    from pathlib import Path

APP = Repository(HOSTED, "team/app")
UPSTREAM = Repository("test", "app")
OTHER = Repository("other", "app")


async def test_what_the_settings_name_is_opened(tmp_path: Path) -> None:
    async with open_shared(HostingSettings(content=f"file://{tmp_path}")) as content:
        assert isinstance(content, DirectoryContent)
    async with open_shared(HostingSettings()) as content:
        assert content is None
    with pytest.raises(ContentRefusedError):
        async with open_shared(HostingSettings(content=f"file://{tmp_path}/none")):
            raise AssertionError


def test_what_is_hosted_comes_from_the_shared_content() -> None:
    origin = MemoryOrigin("test")
    sources = Sources({"test"}, MemoryOrigins(origin), MemoryContent(), MemoryHosting())
    assert [sources.has(each) for each in (APP, UPSTREAM, OTHER)] == [True, True, False]
    assert isinstance(sources.find(APP), SharedOrigin)
    assert sources.find(UPSTREAM) is origin


def test_without_one_only_peers_have_it() -> None:
    sources = Sources({"test"}, MemoryOrigins(MemoryOrigin("test")), None, MemoryHosting())
    assert [sources.has(each) for each in (APP, UPSTREAM, OTHER)] == [False, True, False]
