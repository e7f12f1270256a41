"""Brings one repository's part of the index to what the catalog says, whatever it was before.

Both are read side by side, by page and in order, so that a repository of any size takes the same memory.
Doing it again changes nothing, and reads no manifest that the index has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from p2p.errors import RemoraError
from p2p.search.documents import read_document
from p2p.search.index import Put, Remove, Tagged, Untag

if TYPE_CHECKING:
    from p2p.core.oci.reference import Repository
    from p2p.search.api import Catalog
    from p2p.search.index import Change, Index

log = structlog.get_logger(__name__)

PAGE: Final = 100


@dataclass(slots=True)
class Budget:
    """How many reads may fail until nothing more is read: each may take long, where another host is down."""

    failures: int


async def synchronize(index: Index, catalog: Catalog, repository: Repository, budget: Budget) -> bool:
    """Bring it there. False where something could not be read, and is to be tried again.

    LocalError where the catalog or the index fails.
    """
    whole = await _documents(index, catalog, repository, budget)
    await _tags(index, catalog, repository)
    return whole


async def _documents(index: Index, catalog: Catalog, repository: Repository, budget: Budget) -> bool:
    last, whole = "", True
    while True:
        page = {str(one.digest): one for one in await catalog.manifests(repository, PAGE, last)}
        end = next(reversed(page)) if len(page) == PAGE else None
        known: set[str] = set()
        after = last
        while some := await index.digests(repository, after, end, PAGE):
            after = some[-1]
            known.update(some)
            await index.apply([Remove(repository, digest) for digest in some if digest not in page])
        changes: list[Change] = []
        for digest, target in page.items():
            if digest in known:
                continue
            if budget.failures <= 0:
                whole = False
                break
            try:
                document = await read_document(catalog, repository, target)
            except RemoraError as error:
                log.info("not indexed yet", repository=str(repository), digest=digest, cause=str(error))
                budget.failures -= 1
                whole = False
            else:
                changes += [] if document is None else [Put(document)]
        await index.apply(changes)
        if end is None:
            return whole
        last = end


async def _tags(index: Index, catalog: Catalog, repository: Repository) -> None:
    last = ""
    while True:
        page = {tag: str(one.digest) for tag, one in await catalog.tags(repository, PAGE, last)}
        end = next(reversed(page)) if len(page) == PAGE else None
        after = last
        while some := await index.tags(repository, after, end, PAGE):
            after = some[-1][0]
            await index.apply([Untag(repository, tag) for tag, _ in some if tag not in page])
            for tag, digest in some:
                if page.get(tag) == digest:
                    del page[tag]
        await index.apply([Tagged(repository, tag, digest) for tag, digest in page.items()])
        if end is None:
            return
        last = end
