from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, select

from p2p.metadata import rows, schema
from tests.support.hosting_suite import APP, OTHER, T0, blob, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as opened:
        schema.tables.create_all(opened)
        yield opened
    engine.dispose()


def test_times_keep_their_microseconds() -> None:
    assert rows.moment(rows.stamp(T0)) == T0
    assert rows.stamp(T0 + timedelta(microseconds=1)) == rows.stamp(T0) + 1
    assert rows.stamp(T0) > rows.NOW


def test_a_repository_is_made_once(connection: Connection) -> None:
    assert rows.repository_id(connection, APP) is None
    made = rows.made_repository(connection, APP)
    assert rows.made_repository(connection, APP) == made
    assert rows.made_repository(connection, OTHER) != made
    rows.lock_repository(connection, made)


def test_a_repository_that_is_gone_is_a_conflict(connection: Connection) -> None:
    with pytest.raises(rows.ConflictError):
        rows.lock_repository(connection, 7)


def test_more_than_one_question_can_hold(connection: Connection) -> None:
    owner = rows.made_repository(connection, APP)
    many = [blob(str(number)) for number in range(rows.MANY + 7)]
    for each in many:
        assert rows.own_blob(connection, each.digest, each.size)
    assert rows.write_links(connection, owner, many) == many
    digests = [each.digest for each in many]
    assert set(rows.links(connection, owner, digests).values()) == set(many)
    assert len(rows.lock_blobs(connection, digests)) == len(many)


def test_the_earlier_review_counts_and_what_is_being_deleted_is_not_reviewed(connection: Connection) -> None:
    first, second = digest("first"), digest("second")
    for each in (first, second):
        rows.own_blob(connection, each, 1)
    for when in (5, 3, 4):
        rows.queue(connection, (first,), when)
    rows.queue_kept(connection, {second: schema.DELETING})
    queued = connection.execute(select(schema.gc_queue.c.digest, schema.gc_queue.c.review_after)).all()
    assert [tuple(each) for each in queued] == [(str(first), 3)]
