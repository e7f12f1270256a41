from __future__ import annotations

from sqlalchemy import create_engine, inspect

from p2p.metadata.migrations.versions import v0003_places
from p2p.metadata.upgrade import upgrade


def test_it_adds_and_leaves_what_there_is() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, 0, target=2)
        connection.exec_driver_sql("INSERT INTO blob VALUES ('sha256:aa', 5, 0)")
        upgrade(connection, 2, target=3)
        rows = connection.exec_driver_sql("SELECT * FROM blob").all()
        assert [tuple(row) for row in rows] == [("sha256:aa", 5, 0, "")]
        assert {"content_put", "content_owner"} <= set(inspect(connection).get_table_names())
    engine.dispose()


def test_it_follows_the_second() -> None:
    assert (v0003_places.revision, v0003_places.down_revision) == ("0003", "0002")
