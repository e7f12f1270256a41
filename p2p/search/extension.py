"""The extension: ``/v2/[<name>/]_remora/search/images?q=…&n=…&last=…``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import trio

from p2p.core.oci.error import RegistryError, shown
from p2p.core.oci.route import parse_fields
from p2p.registry.extension import About
from p2p.registry.replies import json_response
from p2p.search.index import open_index
from p2p.search.indexer import Indexer
from p2p.search.query import parse_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from p2p.core.oci.route import ExtensionRoute
    from p2p.net.message import Request, Response
    from p2p.registry.extension import ExtensionContext, MayPull
    from p2p.search.api import Found
    from p2p.search.index import Index

DEFAULT_PAGE: Final = 25
MAX_PAGE: Final = 100
BATCH: Final = 100
MAX_BATCHES: Final = 10
"""Of matches that are looked at for one page: where the client may pull few of them, a page may be short."""

_READ: Final = ("GET", "HEAD")
_MAX_DIGITS: Final = 18


ABOUT: Final = About(
    name="_remora",
    component="search",
    description="Search of hosted repositories by name, tag, annotation, platform, type, size, referrers",
    url="https://github.com/opencontainers/distribution-spec/blob/main/extensions/README.md",
    endpoints=("_remora/search/images",),
)


class Search:
    """``Extension``; made by ``open_search``."""

    def __init__(self, index: Index, indexer: Indexer) -> None:
        self._index = index
        self._indexer = indexer

    @property
    def about(self) -> About:
        """``Extension.about``."""
        return ABOUT

    @property
    def consumer(self) -> Indexer:
        """``Extension.consumer``."""
        return self._indexer

    async def answer(self, request: Request, route: ExtensionRoute, may_pull: MayPull) -> Response:
        """``Extension.answer``: a page of matches, in repositories that the client may pull from."""
        if (route.module, route.rest) != ("images", ""):
            raise RegistryError("UNSUPPORTED", "there is no such search", status=404)
        if request.method not in _READ:
            raise RegistryError(
                "UNSUPPORTED", "a search is read", {"allowed": list(_READ)}, mend="Ask with GET"
            )
        fields = parse_fields(request.query)
        text = " ".join(fields.get("q", ()))
        terms = parse_query(text)
        n, before = _number(fields, "n"), _number(fields, "last")
        n = DEFAULT_PAGE if n is None else min(n, MAX_PAGE)
        allowed: dict[str, bool] = {}
        found: list[Found] = []
        batches = 0
        while len(found) < n and batches < MAX_BATCHES:
            batches += 1
            page = await self._index.search(terms, repository=route.name, before=before, n=BATCH)
            before = page.after
            for position, one in enumerate(page.found):
                path = one.document.repository.path
                if path not in allowed:
                    allowed[path] = may_pull(path)
                if allowed[path]:
                    found.append(one)
                    if len(found) == n:
                        before = one.key if position + 1 < len(page.found) or page.after else None
                        break
            if before is None:
                break
        document = {
            "query": text,
            "complete": await self._index.progress.is_complete(),
            "results": [one.to_json() for one in found],
            "next": None if before is None or n == 0 else str(before),
        }
        if document["next"] is None:
            return json_response(200, document)
        target = "/v2/" + (f"{route.name}/" if route.name else "") + "_remora/search/images"
        query = urlencode({"q": text, "n": n, "last": document["next"]})
        return json_response(200, document, ((b"Link", f'<{target}?{query}>; rel="next"'.encode("ascii")),))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """``Extension.run``: follow what changes."""
        await self._indexer.run(task_status=task_status)


def _number(fields: Mapping[str, tuple[str, ...]], key: str) -> int | None:
    value = fields.get(key, ("",))[0]
    if not value:
        return None
    if not (value.isascii() and value.isdigit()) or len(value) > _MAX_DIGITS:
        raise RegistryError("PAGINATION_NUMBER_INVALID", f"{key}={shown(value)} is none of a page")
    return int(value)


@asynccontextmanager
async def open_search(context: ExtensionContext) -> AsyncIterator[Search]:
    """Open the index: the entry point ``search`` of ``remora.extensions``."""
    async with open_index(context.state) as index:
        yield Search(index, Indexer(index, context.catalog, shared=context.shared))
