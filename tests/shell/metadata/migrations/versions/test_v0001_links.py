from __future__ import annotations

from sqlalchemy import create_engine, inspect

from p2p.metadata.migrations.versions import v0001_links
from p2p.metadata.upgrade import upgrade


def test_it_makes_what_the_first_release_made() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, 0, target=1)
        seen = inspect(connection)
        tables = ["alembic_version", "link", "repository", "schema_version", "tag"]
        assert sorted(seen.get_table_names()) == tables
        assert [each["name"] for each in seen.get_columns("link")] == [
            "repository",
            "digest",
            "media_type",
            "size",
        ]
        assert connection.exec_driver_sql("SELECT version FROM schema_version").scalar() == 1
    engine.dispose()


def test_it_is_the_first() -> None:
    assert (v0001_links.revision, v0001_links.down_revision) == ("0001", None)
