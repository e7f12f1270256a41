"""The examples of docs/extending.md work as they stand."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from p2p.config import NotificationSettings, SinkSettings
from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import ExtensionRoute, parse_route
from p2p.errors import ConfigError
from p2p.net.message import Content, Request, Response
from p2p.notifications.service import open_notifications
from p2p.registry.extension import ExtensionContext, open_extensions
from tests.support.catalog import MemoryCatalog
from tests.support.example_packages import install_example
from tests.support.happenings import KeepingSink, happening
from tests.support.http_rig import NoBody

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


async def test_the_front_end_extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example("hello_extension", tmp_path, monkeypatch)
    catalog = MemoryCatalog()
    context = ExtensionContext(state=tmp_path, node="n", catalog=catalog)
    async with open_extensions(context, without=["search"]) as loaded, trio.open_nursery() as nursery:
        assert [entry["name"] for entry in loaded.discovery] == ["_example"]
        await nursery.start(loaded.run)
        catalog.image("team/app", "1")
        await loaded.consumers["hello"].send(catalog.events)

        async def count(name: str) -> Response:
            path = f"/v2/_example/pushes/count/{name}"
            route = parse_route("GET", path, "")
            assert isinstance(route, ExtensionRoute)
            request = Request("GET", path, "", (), NoBody())
            return await loaded.answer(request, route, lambda name: name != "secret")

        body = (await count("team/app")).body
        assert isinstance(body, Content)
        assert json.loads(body.data) == {"repository": "team/app", "pushes": 1}
        with pytest.raises(RegistryError) as caught:
            await count("secret")
        assert caught.value.status == 404
        nursery.cancel_scope.cancel()
