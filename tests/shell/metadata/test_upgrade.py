from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, inspect

from p2p.core.oci.digest import Digest
from p2p.errors import LocalError
from p2p.metadata import schema
from p2p.metadata.sql import open_metadata
from p2p.metadata.sqlite import FILE
from p2p.metadata.upgrade import prepare, revision, upgrade
from tests.support.metadata_suite import APP, MANIFEST, blob, row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Connection

# What the first release wrote, word for word.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE repository (id INTEGER NOT NULL, registry VARCHAR NOT NULL, path VARCHAR NOT NULL,
  PRIMARY KEY (id), UNIQUE (registry, path));
CREATE TABLE link (repository INTEGER NOT NULL, digest VARCHAR NOT NULL, media_type VARCHAR NOT NULL,
  size BIGINT NOT NULL, PRIMARY KEY (repository, digest),
  FOREIGN KEY(repository) REFERENCES repository (id)) WITHOUT ROWID;
CREATE TABLE tag (repository INTEGER NOT NULL, name VARCHAR NOT NULL, digest VARCHAR NOT NULL,
  media_type VARCHAR NOT NULL, size BIGINT NOT NULL, confirmed_at BIGINT NOT NULL,
  PRIMARY KEY (repository, name),
  FOREIGN KEY(repository, digest) REFERENCES link (repository, digest),
  FOREIGN KEY(repository) REFERENCES repository (id)) WITHOUT ROWID;
INSERT INTO schema_version VALUES (1);
"""


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def shape(connection: Connection) -> dict[str, object]:
    seen = inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)],
            seen.get_pk_constraint(table)["constrained_columns"],
            sorted(
                (k["constrained_columns"], k["referred_table"], k["referred_columns"])
                for k in seen.get_foreign_keys(table)
            ),
            sorted((i["name"], i["column_names"]) for i in seen.get_indexes(table)),
        )
        for table in seen.get_table_names()
    }


def test_a_new_database_is_the_same_as_an_upgraded_one(connection: Connection) -> None:
    upgrade(connection, 0)
    assert compare_metadata(MigrationContext.configure(connection), schema.tables) == []
    upgraded = shape(connection)
    other = create_engine("sqlite://")
    with other.begin() as fresh:
        prepare(fresh, "it")
        assert shape(fresh) == upgraded
        assert fresh.exec_driver_sql("SELECT version FROM schema_version").scalar() == schema.VERSION
        stamped = fresh.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        assert stamped == revision(schema.VERSION)
    other.dispose()


def test_one_version_at_a_time(connection: Connection) -> None:
    upgrade(connection, 0, target=1)
    assert connection.exec_driver_sql("SELECT version FROM schema_version").scalar() == 1
    assert "blob" not in inspect(connection).get_table_names()
    prepare(connection, "it")
    assert connection.exec_driver_sql("SELECT version FROM schema_version").scalar() == schema.VERSION
    assert "blob" in inspect(connection).get_table_names()


async def test_a_file_of_the_first_release_is_taken_over_without_loss(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / FILE)
    raw.executescript(VERSION_1)
    raw.execute("INSERT INTO repository VALUES (7, ?, ?)", (APP.registry, APP.path))
    kept = row()
    values = (str(kept.digest), MANIFEST, kept.size)
    raw.execute("INSERT INTO link VALUES (7, ?, ?, ?)", values)
    raw.execute("INSERT INTO link VALUES (7, ?, ?, ?)", (str(Digest.of(b"layer")), "application/x", 5))
    confirmed = int(kept.confirmed_at.timestamp()) * 1_000_000 + kept.confirmed_at.microsecond
    raw.execute("INSERT INTO tag VALUES (7, ?, ?, ?, ?, ?)", ("1", *values, confirmed))
    raw.commit()
    raw.close()
    for _ in range(2):
        async with open_metadata(tmp_path) as metadata:
            assert await metadata.tag(APP, "1") == kept
            assert await metadata.describe(APP, Digest.of(b"layer")) == blob(b"layer", "application/x")
            assert await metadata.hold(APP, kept.digest, lease=kept.confirmed_at) is not None


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / FILE)
    raw.executescript(VERSION_1 + "CREATE TABLE upload_session (mine INTEGER);")
    raw.close()
    engine = create_engine(f"sqlite:///{tmp_path / FILE}", isolation_level="AUTOCOMMIT")
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(engine, "rollback", lambda connection: connection.exec_driver_sql("ROLLBACK"))
    with pytest.raises(Exception, match="upload_session"), engine.begin() as connection:
        prepare(connection, "it")
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        assert sorted(tables) == ["link", "repository", "schema_version", "tag", "upload_session"]
    engine.dispose()


async def test_later_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with open_metadata(tmp_path):
        pass
    raw = sqlite3.connect(tmp_path / FILE)
    raw.execute("UPDATE schema_version SET version = 99")
    raw.commit()
    raw.close()
    with pytest.raises(LocalError, match="version 99") as caught:
        async with open_metadata(tmp_path):
            pass
    assert "release that wrote it" in caught.value.mend


def test_logging_stays_as_it_was(connection: Connection) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("alembic").level)
    upgrade(connection, 0)
    assert (list(root.handlers), root.level, logging.getLogger("alembic").level) == before


@pytest.mark.slow
def test_neither_a_new_nor_a_current_database_loads_alembic_or_a_driver(tmp_path: Path) -> None:
    code = """
import sys, trio
from pathlib import Path
from p2p.metadata.sql import open_metadata
async def main():
    async with open_metadata(Path(sys.argv[1])):
        sys.exit("alembic" in sys.modules or "psycopg" in sys.modules)
trio.run(main)
"""
    for _ in range(2):
        ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert ran.returncode == 0
