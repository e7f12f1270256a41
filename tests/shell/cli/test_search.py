from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import click.testing
import pytest
import trio

from p2p.cli.app import main
from p2p.cli.search import PATH, rows
from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import ExtensionRoute, parse_route
from p2p.registry.extension import ExtensionContext
from p2p.registry.replies import error_response, json_response
from p2p.search.extension import open_search
from tests.support.catalog import MemoryCatalog, fill

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.net.message import Handler, Request, Response

Open = Callable[["Handler"], AbstractAsyncContextManager[str]]


async def run(*arguments: str) -> click.testing.Result:
    return await trio.to_thread.run_sync(
        lambda: click.testing.CliRunner().invoke(main, ["search", *arguments], env={"COLUMNS": "200"})
    )


async def test_against_the_search_itself(tmp_path: Path, open_server: Open) -> None:
    catalog = MemoryCatalog()
    pushed = fill(catalog)
    async with open_search(ExtensionContext(state=tmp_path, node="n", catalog=catalog)) as search:
        await search.consumer.send(catalog.events)

        async def handle(request: Request) -> Response:
            try:
                route = parse_route(request.method, request.path, request.query)
                assert isinstance(route, ExtensionRoute)
                return await search.answer(request, route, lambda name: True)
            except RegistryError as error:
                return error_response(error, "NAME_UNKNOWN")

        async with open_server(handle) as url:
            shown = await run("--registry", url, "shop window")
            assert shown.exit_code == 0
            assert "team/web:1.0 (+1)" in shown.stdout
            assert "linux/amd64" in shown.stdout
            assert "being built" in shown.stderr
            exact = await run("--registry", url, "--json", "annotation:vendor=Crème & Söhne")
            (one,) = json.loads(exact.stdout)
            assert one["digest"] == str(pushed["db"].digest)
            everything = await run("--registry", url, "--json")
            assert len(json.loads(everything.stdout)) == 5
            limited = await run("--registry", url, "--json", "-n", "2")
            assert len(json.loads(limited.stdout)) == 2
            nothing = await run("--registry", url, "nosuchword")
            assert nothing.stdout == "Nothing matches.\n"
            refused = await run("--registry", url, "plattform:x")
            assert refused.exit_code == 1
            assert "a filter 'plattform' that there is not" in refused.stderr


async def test_pages_are_followed(open_server: Open) -> None:
    asked: list[dict[str, list[str]]] = []

    async def handle(request: Request) -> Response:
        assert request.path == PATH
        asked.append(parse_qs(request.query))
        return json_response(200, {"results": [{"n": len(asked)}], "next": str(len(asked))})

    async with open_server(handle) as url:
        result = await run("--registry", url, "--json", "-n", "3", "x")
    assert json.loads(result.stdout) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [one.get("last") for one in asked] == [None, ["1"], ["2"]]


@pytest.mark.parametrize("document", [[], {"results": 7}, {"results": [7]}])
async def test_what_is_no_search(open_server: Open, document: Any) -> None:
    async def handle(request: Request) -> Response:
        return json_response(200, document)

    async with open_server(handle) as url:
        result = await run("--registry", url)
    assert result.exit_code == 1
    assert "it " in result.stderr


async def test_nobody_there(open_server: Open) -> None:
    async def handle(request: Request) -> Response:
        raise AssertionError

    async with open_server(handle) as url:
        pass
    result = await run("--registry", url.replace("http://", "http://user:s3cret@"))
    assert result.exit_code == 1
    assert "can't be reached" in result.stderr
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize("registry", ["localhost:5000", "http://[::1"])
async def test_what_is_no_url(registry: str) -> None:
    result = await run("--registry", registry)
    assert result.exit_code == 2
    assert "is not a URL" in result.stderr


def test_rows_of_little() -> None:
    assert list(rows([{"repository": "a", "tags": []}])) == [("a", "", "-", "-", "-")]
