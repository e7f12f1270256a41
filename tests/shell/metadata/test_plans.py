"""Constant time: SQLite itself says that no question of any verb reads a table through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event

from p2p.metadata.hosting import Place
from tests.support.hosting_suite import APP, IMAGE, LEASE, OTHER, T0, Image, blob, collect, digest, push

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from sqlalchemy.engine import Connection

    from p2p.metadata.sql import SqlMetadata


def plans(connection: Connection, asked: dict[str, object]) -> Iterator[tuple[str, str]]:
    for statement, parameters in asked.items():
        explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
        for row in explained.all():
            yield statement, row[3]


async def test_no_verb_reads_a_table_through(hosting: SqlMetadata, request: pytest.FixtureRequest) -> None:
    asked: dict[str, object] = {}
    connection = hosting._database._connection  # type: ignore[attr-defined]

    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            asked.setdefault(statement, parameters)

    event.listen(connection, "before_cursor_execute", note)
    request.addfinalizer(lambda: event.remove(connection, "before_cursor_execute", note))
    await push(hosting, IMAGE, "1", "2")
    await push(hosting, Image("signature", subject="image", artifact_type="x/sig"), "3", lease=T0)
    await hosting.put_manifest(APP, Image("fixed").pushed("1", immutable=frozenset({"1"})), now=T0)
    await hosting.mount(OTHER, digest("layer"), APP, lease=LEASE)
    await hosting.mount(OTHER, digest("config"), None, lease=LEASE)
    await hosting.hold(OTHER, digest("layer"), lease=LEASE)
    await hosting.referrers(APP, IMAGE.digest, None, 9)
    await hosting.referrers(APP, IMAGE.digest, "x/sig", 9)
    hosting._tags.clear()
    hosting._links.clear()
    await hosting.tag(APP, "1")
    await hosting.tags(APP, 9)
    await hosting.repositories(APP.registry, 9)
    await hosting.describe(APP, digest("layer"))
    await hosting.changes(APP.registry, 9)
    await hosting.changes(APP.registry, 9, (5, "a"))
    await hosting.manifests(APP, 9)
    await hosting.tagged(APP, 9)
    await hosting.untag(APP, "2")
    await hosting.upload("none")
    await hosting.expired_uploads(T0, 9)
    await hosting.extend_upload("none", T0)
    await hosting.end_upload("none")
    await hosting.remove_blob(OTHER, digest("layer"))
    await hosting.remove_manifest(APP, digest("signature"))
    await hosting.add_blob(APP, blob("loose"), lease=T0)
    await collect(hosting, T0)
    await hosting.deleting()
    await hosting.intend("one", T0)
    await hosting.add_blob(APP, blob("placed"), lease=T0, place=Place("one"))
    await hosting.add_blob(APP, blob("placed"), lease=T0, place=Place("one", new=False))
    await hosting.intend("two", T0)
    await hosting.add_blob(APP, blob("placed"), lease=T0, place=Place("two"))
    await hosting.relocate(digest("placed"), Place("two"))
    await hosting.place(digest("placed"))
    await hosting.places(9)
    await hosting.intents(T0, 9)
    await hosting.doomed(["one", "two"], T0)
    await hosting.content_owner()
    await hosting.any_placed()
    await hosting.drop_repository(OTHER)

    found = await hosting._database.do(lambda connection: list(plans(connection, asked)))
    assert len(asked) > 40
    scans = [(statement, step) for statement, step in found if step.startswith("SCAN")]
    # A row of constants is no table, and the index of what is being deleted has nothing else in it.
    scans = [(s, step) for s, step in scans if "CONSTANT" not in step and "blob_deleting" not in step]
    # Whether anything lies in shared content: of those that do, the first.
    scans = [(s, step) for s, step in scans if "blob_location" not in step or "LIMIT" not in s]
    assert scans == []
    # All repositories of a registry are as many as there are.
    through = [(s, step) for s, step in found if step.endswith("sqlite_autoindex_repository_1 (registry=?)")]
    assert through == []
    sorts = [(statement, step) for statement, step in found if "TEMP B-TREE FOR ORDER" in step]
    assert sorts == []
