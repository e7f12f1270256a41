from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING

import pytest
import trio

from p2p import extensions
from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import ExtensionRoute
from p2p.errors import ConfigError
from p2p.net.message import Request, Response
from p2p.registry.extension import About, ExtensionContext, Extensions, MayPull, open_extensions
from tests.support.catalog import MemoryCatalog
from tests.support.happenings import KeepingSink
from tests.support.http_rig import NoBody

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = Request("GET", "/v2/_acme/a/b", "", (), NoBody())


class Acme:
    """An extension that answers 299 and counts."""

    def __init__(self, component: str = "a", consumer: KeepingSink | None = None) -> None:
        self.about = About("_acme", component, "For tests", "https://acme.invalid", (f"_acme/{component}/b",))
        self.consumer = consumer
        self.runs = 0

    async def answer(self, request: Request, route: ExtensionRoute, may_pull: MayPull) -> Response:
        return Response(299 if may_pull(route.module) else 298)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.runs += 1
        task_status.started()


async def test_the_extension_of_the_path_answers() -> None:
    loaded = Extensions({"one": Acme("a"), "two": Acme("b")})
    answer = await loaded.answer(REQUEST, ExtensionRoute("_acme", "a", "app"), lambda name: name == "app")
    assert answer.status == 299
    for route in (ExtensionRoute("_acme", "c", "app"), ExtensionRoute("_else", "a", "app")):
        with pytest.raises(RegistryError) as caught:
            await loaded.answer(REQUEST, route, lambda name: True)
        assert caught.value.status == 404


def test_discovery_has_one_entry_for_a_name() -> None:
    assert Extensions({"one": Acme("a"), "two": Acme("b")}).discovery == [
        {
            "name": "_acme",
            "description": "For tests",
            "url": "https://acme.invalid",
            "endpoints": ["_acme/a/b", "_acme/b/b"],
        }
    ]
    assert Extensions({}).discovery == []


def test_two_for_one_path() -> None:
    with pytest.raises(ConfigError, match="extension two: _acme/a is taken"):
        Extensions({"one": Acme("a"), "two": Acme("a")})


async def test_consumers_and_tasks() -> None:
    consumer = KeepingSink()
    one, two = Acme("a", consumer), Acme("b")
    loaded = Extensions({"one": one, "two": two})
    assert loaded.consumers == {"one": consumer}
    async with trio.open_nursery() as nursery:
        await nursery.start(loaded.run)
    assert (one.runs, two.runs) == (1, 1)


@asynccontextmanager
async def open_acme(context: ExtensionContext) -> AsyncIterator[Acme]:
    yield Acme(context.node)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("acme", f"{__name__}:open_acme", extensions.EXTENSIONS)])
    monkeypatch.setattr(extensions, "entry_points", lambda **found: points.select(**found))
    monkeypatch.setattr(EntryPoint, "load", lambda point: globals()[point.attr])


async def test_what_is_installed_is_opened(tmp_path: Path, installed: None) -> None:
    context = ExtensionContext(state=tmp_path, node="web", catalog=MemoryCatalog())
    async with open_extensions(context) as loaded:
        assert [entry["endpoints"] for entry in loaded.discovery] == [["_acme/web/b"]]
    async with open_extensions(context, without=["acme"]) as loaded:
        assert loaded.discovery == []


async def test_what_cannot_be_loaded_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = EntryPoints([EntryPoint("gone", "no_such_module_here:open", extensions.EXTENSIONS)])
    monkeypatch.setattr(extensions, "entry_points", lambda **found: points.select(**found))
    with pytest.raises(ConfigError, match=r"remora.extensions gone: .*can't be loaded"):
        async with open_extensions(ExtensionContext(state=tmp_path, node="n", catalog=MemoryCatalog())):
            pass
