from __future__ import annotations

from sqlalchemy import create_engine, inspect

from p2p.metadata.migrations.versions import v0002_hosting
from p2p.metadata.upgrade import upgrade


def test_it_adds_and_leaves_what_there_is() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, 0, target=1)
        connection.exec_driver_sql("INSERT INTO repository VALUES (1, 'docker.io', 'app')")
        connection.exec_driver_sql("INSERT INTO link VALUES (1, 'sha256:aa', 'x/y', 5)")
        upgrade(connection, 1, target=2)
        rows = connection.exec_driver_sql("SELECT * FROM link").all()
        assert [tuple(row) for row in rows] == [(1, "sha256:aa", "x/y", 5, None)]
        made = {"blob", "manifest", "manifest_reference", "gc_queue", "upload_session"}
        assert made <= set(inspect(connection).get_table_names())
    engine.dispose()


def test_it_follows_the_first() -> None:
    assert (v0002_hosting.revision, v0002_hosting.down_revision) == ("0002", "0001")
