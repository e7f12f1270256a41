"""The index: ``search.db``, SQLite with FTS5. It can be deleted at any time: it is built again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never

from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import Repository
from p2p.search.api import Document, Found, Page
from p2p.search.progress import Progress
from p2p.search.schema import SCHEMA, VERSION, statement
from p2p.sqlite import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from p2p.search.query import Term
    from p2p.sqlite import Database

FILE: Final = "search.db"
STEP: Final = 10_000
MAX_STEPS: Final = 5_000
"""Of ``STEP`` instructions of SQLite's machine each: about a second; a longer query is refused."""


@dataclass(frozen=True, slots=True)
class Put:
    """A document is new, or known already; these tags point to it now."""

    document: Document
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag points to a manifest, whether or not that has a document yet."""

    repository: Repository
    tag: str
    digest: str


@dataclass(frozen=True, slots=True)
class Untag:
    """A tag is gone."""

    repository: Repository
    tag: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A manifest is gone, with all its tags."""

    repository: Repository
    digest: str


Change = Put | Tagged | Untag | Remove


class Index:
    """Made by ``open_index``. Raises LocalError when the file fails."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.progress = Progress(database)

    async def apply(self, changes: Sequence[Change]) -> None:
        """Make changes in order, all or none. Making them again changes nothing."""
        if changes:
            await self._database.do(lambda connection: _apply(connection, changes))

    async def digests(self, repository: Repository, after: str, until: str | None, n: int) -> list[str]:
        """Give up to ``n`` digests of its documents in (after, until], in order; None: to the end."""
        rows = await self._database.do(
            lambda connection: _between(connection, "document", "digest", repository, (after, until, n))
        )
        return [digest for _, digest in rows]

    async def tags(
        self, repository: Repository, after: str, until: str | None, n: int
    ) -> list[tuple[str, str]]:
        """Give up to ``n`` of its tags in (after, until], in order, with the digest of each."""
        return await self._database.do(
            lambda connection: _between(connection, "tag", "name", repository, (after, until, n))
        )

    async def search(
        self, terms: Sequence[Term], *, repository: str | None = None, before: int | None = None, n: int
    ) -> Page:
        """Give up to ``n`` matches with keys below ``before``, the latest first.

        RegistryError (status 400) for a query that takes too long.
        """
        sql, values = statement(terms, repository=repository, before=before, n=n + 1)
        return await self._database.do(lambda connection: _search(connection, sql, values, n))


def _apply(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    for change in changes:
        match change:
            case Put(document, tags):
                _put(connection, document, tags)
            case Tagged(repository, tag, digest):
                _tag(connection, repository, tag, digest)
            case Untag(repository, tag):
                _untag(connection, repository, tag)
            case Remove(repository, digest):
                _remove(connection, repository, digest)
            case _:
                assert_never(change)


def _place(repository: Repository, last: str) -> tuple[str, str, str]:
    return repository.registry, repository.path, last


def _key(connection: sqlite3.Connection, repository: Repository, digest: str) -> int | None:
    row = connection.execute(
        "SELECT key FROM document WHERE registry = ? AND path = ? AND digest = ?", _place(repository, digest)
    ).fetchone()
    return None if row is None else int(row[0])


def _put(connection: sqlite3.Connection, document: Document, tags: Sequence[str]) -> None:
    repository = document.repository
    values = (
        *_place(repository, document.digest),
        document.media_type,
        document.artifact_type,
        document.size,
        document.subject,
        json.dumps(document.platforms),
        json.dumps(document.annotations),
    )
    connection.execute(
        "INSERT OR IGNORE INTO document (registry, path, digest, media_type, artifact_type, size, subject,"
        " platforms, annotations) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    key = _key(connection, repository, document.digest)
    assert key is not None
    connection.executemany(
        "INSERT OR IGNORE INTO platform VALUES (?, ?)", [(key, name) for name in document.platforms]
    )
    connection.executemany(
        "INSERT OR IGNORE INTO annotation VALUES (?, ?, ?)",
        [(key, name, value) for name, value in document.annotations],
    )
    for tag in tags:
        _tag(connection, repository, tag, document.digest)
    if not tags:
        _write_words(connection, repository, document.digest)


def _tag(connection: sqlite3.Connection, repository: Repository, tag: str, digest: str) -> None:
    before = _tagged(connection, repository, tag)
    connection.execute(
        "INSERT OR REPLACE INTO tag (registry, path, name, digest) VALUES (?, ?, ?, ?)",
        (*_place(repository, tag), digest),
    )
    if before is not None and before != digest:
        _write_words(connection, repository, before)
    _write_words(connection, repository, digest)


def _tagged(connection: sqlite3.Connection, repository: Repository, tag: str) -> str | None:
    row = connection.execute(
        "SELECT digest FROM tag WHERE registry = ? AND path = ? AND name = ?", _place(repository, tag)
    ).fetchone()
    return None if row is None else str(row[0])


def _untag(connection: sqlite3.Connection, repository: Repository, tag: str) -> None:
    digest = _tagged(connection, repository, tag)
    if digest is not None:
        connection.execute(
            "DELETE FROM tag WHERE registry = ? AND path = ? AND name = ?", _place(repository, tag)
        )
        _write_words(connection, repository, digest)


def _remove(connection: sqlite3.Connection, repository: Repository, digest: str) -> None:
    connection.execute(
        "DELETE FROM tag WHERE registry = ? AND path = ? AND digest = ?", _place(repository, digest)
    )
    key = _key(connection, repository, digest)
    if key is not None:
        connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
        for table in ("document", "platform", "annotation"):
            connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))  # noqa: S608 - our own names


def _write_words(connection: sqlite3.Connection, repository: Repository, digest: str) -> None:
    """Write anew what the free words of a query are looked for in."""
    row = connection.execute(
        "SELECT key, artifact_type, annotations FROM document WHERE registry = ? AND path = ? AND digest = ?",
        _place(repository, digest),
    ).fetchone()
    if row is None:
        return
    key, artifact_type, annotations = row
    parts = [repository.path, *_tags(connection, repository, digest), artifact_type]
    parts += [value for _, value in json.loads(annotations)]
    connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
    connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (key, "\n".join(parts)))


def _tags(connection: sqlite3.Connection, repository: Repository, digest: str) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM tag WHERE registry = ? AND path = ? AND digest = ? ORDER BY name",
        _place(repository, digest),
    )
    return [name for (name,) in rows]


def _between(
    connection: sqlite3.Connection,
    table: str,
    column: str,
    repository: Repository,
    bounds: tuple[str, str | None, int],
) -> list[tuple[str, str]]:
    """Give (``column``, digest) of a repository's rows, in order of the first."""
    after, until, n = bounds
    end = "" if until is None else f" AND {column} <= ?"
    rows = connection.execute(
        f"SELECT {column}, digest FROM {table} WHERE registry = ? AND path = ? AND {column} > ?{end}"  # noqa: S608 - names of our own
        f" ORDER BY {column} LIMIT ?",
        (*_place(repository, after), *(() if until is None else (until,)), n),
    )
    return [(str(value), str(digest)) for value, digest in rows]


def _search(connection: sqlite3.Connection, sql: str, values: Sequence[object], n: int) -> Page:
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return steps > MAX_STEPS

    connection.set_progress_handler(count, STEP)
    try:
        rows = connection.execute(sql, tuple(values)).fetchall()
    except sqlite3.OperationalError as error:
        if steps <= MAX_STEPS:
            raise
        raise RegistryError(
            "UNSUPPORTED", "the query takes too long", status=400, mend="Name a repository in it"
        ) from error
    finally:
        connection.set_progress_handler(None, 0)
    found = tuple(_found(connection, row) for row in rows[:n])
    return Page(found, found[-1].key if len(rows) > n and found else None)


def _found(connection: sqlite3.Connection, row: tuple[object, ...]) -> Found:
    key, registry, path, digest, media_type, artifact_type, size, subject, platforms, annotations, n = row
    repository = Repository(str(registry), str(path))
    document = Document(
        repository=repository,
        digest=str(digest),
        media_type=str(media_type),
        artifact_type=str(artifact_type),
        size=int(str(size)),
        platforms=tuple(json.loads(str(platforms))),
        annotations=tuple((name, value) for name, value in json.loads(str(annotations))),
        subject=str(subject),
    )
    tags = tuple(_tags(connection, repository, document.digest))
    return Found(int(str(key)), document, tags, int(str(n)))


@asynccontextmanager
async def open_index(state: Path) -> AsyncIterator[Index]:
    """Open ``<state>/search.db``, making it where it is missing; see ``open_database`` for errors."""
    async with open_database(
        state / FILE,
        SCHEMA,
        version=VERSION,
        what="search index",
        aside="The node can be stopped and the file deleted: the index is built again",
        disposable=True,
    ) as database:
        yield Index(database)
