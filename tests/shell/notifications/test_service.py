from __future__ import annotations

import sys
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import NotificationSettings, SinkSettings
from p2p.errors import ConfigError
from p2p.notifications.api import What
from p2p.notifications.queue import FILE
from p2p.notifications.service import open_notifications
from tests.support.happenings import KeepingSink, happening

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
from contextlib import asynccontextmanager
from tests.support.happenings import KeepingSink

opened = {}

@asynccontextmanager
async def open_keeping(name, settings, node):
    opened[name, node] = KeepingSink()
    yield opened[name, node]
"""


@pytest.fixture
def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution that brings the kind ``keeping``."""
    info = tmp_path / "keeping-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keeping\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[remora.sinks]\nkeeping = keeping_sink:open_keeping\n")
    (tmp_path / "keeping_sink.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keeping_sink", raising=False)


async def test_configured_sinks_and_consumers_hear(tmp_path: Path, keeping: None) -> None:
    settings = NotificationSettings(sinks={"pushes": SinkSettings(kind="keeping", actions=("push",))})
    consumer = KeepingSink()
    async with (
        open_notifications(
            settings, state=tmp_path, node="web-1", rng=Random(1), consumers={"search": consumer}
        ) as notifications,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(notifications.run)
        await notifications.notifier.tell([happening(What.MOUNT), happening(What.PUSH)])
        await notifications.notifier.tell([happening(What.PULL)])
        await consumer.wait_for(2)
        await notifications.stop()
    import keeping_sink

    assert keeping_sink.opened["pushes", "web-1"].numbers == [2]
    assert consumer.numbers == [1, 2, 3], "a stop notes the pulls and delivers once more"
    figures = notifications.statistics()
    assert figures["pushes"].delivered == 1
    assert figures["extension:search"].delivered == 3


async def test_nobody_to_tell(tmp_path: Path) -> None:
    async with (
        open_notifications(NotificationSettings(), state=tmp_path, node="n", rng=Random(1)) as notifications,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(notifications.run)
        await notifications.notifier.tell([happening()])
        await notifications.stop()
    assert not await trio.Path(tmp_path / FILE).exists(), "what nobody hears is not noted"
    assert (dict(notifications.statistics()), notifications.lost) == ({}, 0)


async def test_a_kind_that_there_is_not(tmp_path: Path) -> None:
    settings = NotificationSettings(sinks={"a": SinkSettings(kind="pigeon")})
    with pytest.raises(ConfigError, match=r"remora.sinks pigeon: nothing of this name"):
        async with open_notifications(settings, state=tmp_path, node="n", rng=Random(1)):
            pass
