from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.store_rig import World

if TYPE_CHECKING:
    from pathlib import Path

# Property tests are bounded by pytest's timeout: a busy machine must not fail one for a slow example.
settings.register_profile("remora", deadline=None)
settings.load_profile("remora")


@pytest.fixture(params=["memory", "disk"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    world = World(request.param, tmp_path)
    yield world
    world.close()


@pytest.fixture
async def disk_world(tmp_path: Path) -> AsyncIterator[World]:
    world = World("disk", tmp_path)
    yield world
    world.close()
