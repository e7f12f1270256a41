"""The examples of docs/extending.md work as they stand."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import NotificationSettings, SinkSettings
from p2p.errors import ConfigError
from p2p.notifications.service import open_notifications
from tests.support.example_packages import install_example
from tests.support.happenings import KeepingSink, happening

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_file_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example("file_sink", tmp_path, monkeypatch)
    target = tmp_path / "events.jsonl"
    settings = NotificationSettings(sinks={"log": SinkSettings(kind="file", options=(f"path={target}",))})
    beside = KeepingSink()
    async with (
        open_notifications(
            settings, state=tmp_path, node="n", rng=Random(1), consumers={"beside": beside}
        ) as notifications,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(notifications.run)
        await notifications.notifier.tell([happening(tags=("1",))])
        await beside.wait_for(1)
        await notifications.stop()
    missed, pushed = map(json.loads, (await trio.Path(target).read_text()).splitlines())
    assert missed == {"missed": True}
    assert (pushed["path"], pushed["tags"]) == ("team/app", ["1"])


async def test_the_file_sink_without_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example("file_sink", tmp_path, monkeypatch)
    settings = NotificationSettings(sinks={"log": SinkSettings(kind="file")})
    with pytest.raises(ConfigError, match="sink log: it has no path"):
        async with open_notifications(settings, state=tmp_path, node="n", rng=Random(1)):
            pass
