"""The tables of the index, and what a query means in them. Every value is a parameter, no part of the SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from p2p.search.query import Annotated, Begins, Compared, Glob, OnPlatform, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.search.query import Term

VERSION: Final = 2
SCHEMA: Final = (
    # Of which database it is, and up to which change: see ``Progress``.
    """CREATE TABLE state (
        complete INTEGER NOT NULL, source TEXT NOT NULL, at INTEGER NOT NULL, path TEXT NOT NULL
    )""",
    "INSERT INTO state VALUES (0, '', 0, '')",
    """CREATE TABLE waiting (
        key INTEGER PRIMARY KEY AUTOINCREMENT, registry TEXT NOT NULL, path TEXT NOT NULL,
        UNIQUE (path, registry)
    )""",
    """CREATE TABLE document (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        registry TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
        media_type TEXT NOT NULL, artifact_type TEXT NOT NULL, size INTEGER NOT NULL, subject TEXT NOT NULL,
        platforms TEXT NOT NULL, annotations TEXT NOT NULL,
        UNIQUE (path, digest, registry)
    )""",
    "CREATE INDEX document_subject ON document (path, subject) WHERE subject <> ''",
    "CREATE INDEX document_digest ON document (digest)",
    """CREATE TABLE tag (
        registry TEXT NOT NULL, path TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (path, name, registry)
    ) WITHOUT ROWID""",
    "CREATE INDEX tag_digest ON tag (path, digest)",
    "CREATE TABLE platform (key INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID",
    "CREATE INDEX platform_key ON platform (key)",
    """CREATE TABLE annotation (
        key INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX annotation_key ON annotation (key)",
    "CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2')",
)

REFERRERS: Final = "(SELECT count(*) FROM document r WHERE r.path = d.path AND r.subject = d.digest)"
_COLUMNS: Final = {
    "repository": "d.path",
    "artifact-type": "d.artifact_type",
    "media-type": "d.media_type",
    "digest": "d.digest",
    "subject": "d.subject",
    "size": "d.size",
    "referrers": REFERRERS,
}
_OPERATORS: Final = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "="}


def statement(
    terms: Sequence[Term], *, repository: str | None, before: int | None, n: int
) -> tuple[str, list[object]]:
    """Give SQL and its parameters: up to ``n`` documents with keys below ``before``, greatest first."""
    conditions: list[str] = []
    values: list[object] = []
    if repository is not None:
        conditions.append("d.path = ?")
        values.append(repository)
    if before is not None:
        conditions.append("d.key < ?")
        values.append(before)
    for term in terms:
        condition, more = _condition(term)
        conditions.append(condition)
        values += more
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    values.append(n)
    sql = (
        "SELECT d.key, d.registry, d.path, d.digest, d.media_type, d.artifact_type, d.size, d.subject,"  # noqa: S608 - only the constants of this module are in it
        f" d.platforms, d.annotations, {REFERRERS} FROM document d{where} ORDER BY d.key DESC LIMIT ?"
    )
    return sql, values


def _condition(term: Term) -> tuple[str, list[object]]:
    match term:
        case Words(text):
            # In quotes it is a string of FTS5 and no syntax; the parser left no quote inside.
            return "d.key IN (SELECT rowid FROM words WHERE words MATCH ?)", [f'"{text}"*']
        case Glob("tag", pattern):
            tagged = "SELECT registry, path, digest FROM tag WHERE name GLOB ?"
            return f"(d.registry, d.path, d.digest) IN ({tagged})", [pattern]
        case Glob(field, pattern):
            return f"{_COLUMNS[field]} GLOB ?", [pattern]
        case Begins(field, text):
            return f"{_COLUMNS[field]} >= ? AND {_COLUMNS[field]} < ?", [text, text + "\U0010ffff"]
        case OnPlatform(platform):
            below = (platform + "/", platform + "0")  # "0" is the character after "/"
            return (
                "d.key IN (SELECT key FROM platform WHERE name = ? OR (name >= ? AND name < ?))",
                [platform, *below],
            )
        case Annotated(key, None):
            return "d.key IN (SELECT key FROM annotation WHERE name = ?)", [key]
        case Annotated(key, value):
            return "d.key IN (SELECT key FROM annotation WHERE name = ? AND value = ?)", [key, value]
        case Compared(field, operator, number):
            return f"{_COLUMNS[field]} {_OPERATORS[operator]} ?", [number]
        case _:
            assert_never(term)
