from __future__ import annotations

from sqlalchemy import create_engine, inspect

from p2p.metadata.migrations.versions import v0004_private
from p2p.metadata.upgrade import upgrade


def test_it_adds_and_judges_nobody() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, 0, target=3)
        connection.exec_driver_sql("INSERT INTO repository VALUES (1, 'docker.io', 'app')")
        upgrade(connection, 3, target=4)
        rows = connection.exec_driver_sql("SELECT * FROM repository").all()
        assert [tuple(row) for row in rows] == [(1, "docker.io", "app", None, None)]
        assert "confined" in inspect(connection).get_table_names()
    engine.dispose()


def test_it_follows_the_third() -> None:
    assert (v0004_private.revision, v0004_private.down_revision) == ("0004", "0003")
