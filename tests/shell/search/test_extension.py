from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import ExtensionRoute, parse_route
from p2p.net.message import Content, Request, Response
from p2p.registry.extension import ExtensionContext
from p2p.search import extension as module
from p2p.search.extension import Search, open_search
from tests.support.catalog import MemoryCatalog, fill
from tests.support.http_rig import NoBody

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/v2/_remora/search/images"


@pytest.fixture
def catalog() -> MemoryCatalog:
    return MemoryCatalog()


@pytest.fixture
async def search(tmp_path: Path, catalog: MemoryCatalog) -> AsyncIterator[Search]:
    async with open_search(ExtensionContext(state=tmp_path, node="n", catalog=catalog)) as search:
        fill(catalog)
        await search.consumer.send(catalog.events)
        yield search


def everyone(name: str) -> bool:
    return True


async def ask(
    search: Search, query: str, *, path: str = PATH, method: str = "GET", may_pull: Any = everyone
) -> Response:
    route = parse_route(method, path, query)
    assert isinstance(route, ExtensionRoute)
    return await search.answer(Request(method, path, query, (), NoBody()), route, may_pull)


async def read(search: Search, query: str, **more: Any) -> dict[str, Any]:
    response = await ask(search, query, **more)
    assert response.status == 200
    assert isinstance(response.body, Content)
    found: dict[str, Any] = json.loads(response.body.data)
    return found


async def test_an_answer(search: Search) -> None:
    answer = await read(search, "q=shop+platform:linux%2Famd64")
    assert answer["query"] == "shop platform:linux/amd64"
    assert answer["complete"] is False
    assert answer["next"] is None
    (found,) = answer["results"]
    assert found["repository"] == "team/web"
    assert found["tags"] == ["1.0", "latest"]
    assert found["referrers"] == 1


async def test_pages_by_link_and_by_token(search: Search) -> None:
    seen: list[str] = []
    query = "n=2"
    while query:
        response = await ask(search, query)
        assert isinstance(response.body, Content)
        answer = json.loads(response.body.data)
        seen += [one["digest"] for one in answer["results"]]
        links = [value for name, value in response.headers if name == b"Link"]
        query = ""
        if answer["next"]:
            (link,) = links
            path, _, query = link.decode().partition(">")[0].removeprefix("<").partition("?")
            assert path == PATH
            assert f"last={answer['next']}" in query
        else:
            assert not links
    assert len(seen) == len(set(seen)) == 5


async def test_one_repository(search: Search) -> None:
    answer = await read(search, "n=1", path="/v2/team/web/_remora/search/images")
    assert [one["repository"] for one in answer["results"]] == ["team/web"]
    response = await ask(search, "n=1", path="/v2/team/web/_remora/search/images")
    assert any(b"</v2/team/web/_remora/search/images?" in value for _, value in response.headers)


async def test_only_what_the_client_may_pull_is_told(search: Search) -> None:
    asked = []

    def may_pull(name: str) -> bool:
        asked.append(name)
        return name == "other/db"

    answer = await read(search, "", may_pull=may_pull)
    assert [one["repository"] for one in answer["results"]] == ["other/db"]
    assert answer["next"] is None
    assert sorted(asked) == ["other/db", "team/web"], "asked once for each repository"
    assert (await read(search, "", path="/v2/team/web/_remora/search/images", may_pull=may_pull))[
        "results"
    ] == []


async def test_a_page_may_be_short_where_much_is_not_for_the_client(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(module, "MAX_BATCHES", 2)
    seen, query = [], "n=5"
    for _ in range(5):
        answer = await read(search, query, may_pull=lambda name: name == "other/db")
        seen += [one["repository"] for one in answer["results"]]
        query = f"n=5&last={answer['next']}"
        if answer["next"] is None:
            break
    assert seen == ["other/db"]
    assert answer["next"] is None


async def test_no_entries(search: Search) -> None:
    answer = await read(search, "n=0")
    assert (answer["results"], answer["next"]) == ([], None)


@pytest.mark.parametrize(
    "query",
    [
        "q=" + quote('"'),
        "q=" + "x" * 5000,
        "q=%00",
        "q=%ff%fe%00",
        "q=nosuch:1",
        "n=-1",
        "n=x",
        "n=" + "9" * 5000,
        "last=x",
        "last=-1",
        "last=" + "9" * 19,
        "&".join(["q=a"] * 60),
    ],
)
async def test_what_is_malformed_is_400(search: Search, query: str) -> None:
    with pytest.raises(RegistryError) as caught:
        await ask(search, query)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "query",
    [
        "q=" + quote("a* OR b AND NOT (c) NEAR(d)"),
        "q=" + quote("'x; DROP TABLE document; --x"),
        "q=" + quote("a\\'b"),
        "n=99999999999",
        "last=999999999999999999",
    ],
)
async def test_what_is_odd_is_no_error(search: Search, query: str) -> None:
    assert (await ask(search, query)).status == 200
    assert len((await read(search, ""))["results"]) == 5


@pytest.mark.parametrize("path", ["/v2/_remora/search/other", "/v2/_remora/search", f"{PATH}/more"])
async def test_other_paths_are_404(search: Search, path: str) -> None:
    with pytest.raises(RegistryError) as caught:
        await ask(search, "", path=path)
    assert caught.value.status == 404


async def test_it_is_only_read(search: Search) -> None:
    with pytest.raises(RegistryError) as caught:
        await ask(search, "", method="DELETE")
    assert caught.value.status == 405
    assert (await ask(search, "", method="HEAD")).status == 200
