from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from p2p.metadata import needs, rows, schema
from p2p.metadata.api import TagRow
from p2p.metadata.hosting import Accepted
from tests.support.hosting_suite import APP, GENERIC, LEASE, T0, blob, digest, index, push

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from p2p.metadata.sql import SqlMetadata


async def linked(hosting: SqlMetadata, condition: ColumnElement[bool]) -> set[str]:
    def ask(connection: Connection) -> set[str]:
        return set(connection.execute(select(schema.link.c.digest).where(condition)).scalars())

    return await hosting._database.do(ask)


async def test_manifests_their_children_and_what_is_tagged_are_needed(hosting: SqlMetadata) -> None:
    await push(hosting)
    await hosting.add_blob(APP, blob("loose"), lease=LEASE)
    await hosting.put_tag(APP, "1", TagRow(digest("tagged"), GENERIC, 6, T0))
    wanted = {str(digest(content)) for content in ("image", "config", "layer", "tagged")}
    assert await linked(hosting, needs.needed()) == wanted


async def test_a_lease_ends_at_its_time(hosting: SqlMetadata) -> None:
    await hosting.add_blob(APP, blob("loose"), lease=LEASE)
    await hosting.link(APP, [blob("cached")])
    end = rows.stamp(LEASE)
    assert await linked(hosting, needs.leased(end - 1)) == {str(digest("loose"))}
    assert await linked(hosting, needs.leased(end)) == set()


async def test_an_index_does_not_hold_its_manifests(hosting: SqlMetadata) -> None:
    await push(hosting)
    assert await hosting.put_manifest(APP, index("list", "image"), now=T0) == Accepted()

    def holds(content: str) -> object:
        def ask(connection: Connection) -> object:
            owner = rows.repository_id(connection, APP)
            assert owner is not None
            return connection.execute(select(needs.content_of_image(owner, digest(content)))).scalar()

        return hosting._database.do(ask)

    assert [bool(await holds(each)) for each in ("layer", "config", "image", "list")] == [  # type: ignore[misc]
        True,
        True,
        False,
        False,
    ]
