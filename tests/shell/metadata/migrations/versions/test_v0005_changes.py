from __future__ import annotations

from sqlalchemy import create_engine

from p2p.metadata.migrations.versions import v0005_changes
from p2p.metadata.upgrade import upgrade


def test_what_is_hosted_counts_as_changed_and_nothing_else() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, 0, target=4)
        for number, registry in ((1, "hosted.invalid"), (2, "docker.io"), (3, "hosted.invalid")):
            connection.exec_driver_sql(
                "INSERT INTO repository (id, registry, path) VALUES (?, ?, 'app' || ?)",
                (number, registry, number),
            )
        upgrade(connection, 4, target=5)
        rows = connection.exec_driver_sql("SELECT id, changed FROM repository ORDER BY id").all()
        assert [tuple(row) for row in rows] == [(1, 60_000_001), (2, None), (3, 180_000_003)]
    engine.dispose()


def test_it_follows_the_fourth() -> None:
    assert (v0005_changes.revision, v0005_changes.down_revision) == ("0005", "0004")
