from __future__ import annotations

from sqlalchemy import create_engine, inspect

from p2p.metadata import schema


def test_every_table_is_made_with_its_keys() -> None:
    engine = create_engine("sqlite://")
    try:
        schema.tables.create_all(engine)
        seen = inspect(engine)
        assert sorted(seen.get_table_names()) == [
            "alembic_version",
            "blob",
            "confined",
            "content_owner",
            "content_put",
            "gc_queue",
            "link",
            "manifest",
            "manifest_reference",
            "repository",
            "schema_version",
            "tag",
            "upload_session",
        ]
        assert seen.get_pk_constraint("link")["constrained_columns"] == ["repository", "digest"]
        assert {key["referred_table"] for key in seen.get_foreign_keys("tag")} == {"link", "repository"}
    finally:
        engine.dispose()
