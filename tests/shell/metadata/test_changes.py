from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import update

from p2p.metadata import rows, schema
from tests.support.hosting_suite import APP, HOSTED, OTHER, ChangeSuite, push

if TYPE_CHECKING:
    from p2p.metadata.sql import SqlMetadata


class TestChanges(ChangeSuite):
    """In a file."""


async def test_a_change_comes_after_those_before_whatever_the_clock_says(hosting: SqlMetadata) -> None:
    await push(hosting)
    ahead = rows.stamp(datetime.now(UTC) + timedelta(days=400))
    change = update(schema.repository).values(changed=ahead)
    await hosting._database.do(lambda connection: connection.execute(change))
    await push(hosting, repository=OTHER)
    (first, second) = await hosting.changes(HOSTED, 9)
    assert (first.repository, first.at) == (APP, ahead)
    assert (second.repository, second.at) == (OTHER, ahead + 1)


async def test_a_change_has_the_time_it_was_made_at(hosting: SqlMetadata) -> None:
    before = rows.stamp(datetime.now(UTC))
    await push(hosting)
    (change,) = await hosting.changes(HOSTED, 9)
    assert before <= change.at <= rows.stamp(datetime.now(UTC))
    assert not hosting.shared
