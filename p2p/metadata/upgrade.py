"""Bringing a database to this release's schema, whoever made it.

``schema_version`` has the number that every release reads, the first one too; Alembic keeps its own table
beside it. A new database is made whole, without Alembic: importing that costs more than all the rest of
opening. A test holds that both ways lead to the same tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, inspect, select, update

from p2p.errors import LocalError
from p2p.metadata import schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

ASIDE = "The node can be stopped and the file moved aside: tags and links are asked of the origins anew"
MIGRATIONS = Path(__file__).parent / "migrations"


def current(connection: Connection, subject: str) -> bool:
    """Whether nothing is to be done. LocalError where a later release wrote the database."""
    found = _found(connection)
    if found is not None and found > schema.VERSION:
        raise LocalError(
            subject,
            f"its schema is version {found} and this release knows version {schema.VERSION}",
            f"Run the release that wrote it. {ASIDE}",
        )
    return found == schema.VERSION


def prepare(connection: Connection, subject: str) -> None:
    """Make or upgrade the tables, within the transaction that is under way."""
    if current(connection, subject):
        return
    found = _found(connection)
    if found is None:
        schema.tables.create_all(connection)
        connection.execute(insert(schema.schema_version).values(version=schema.VERSION))
        _stamp(connection, schema.VERSION)
    else:
        upgrade(connection, found)


def _found(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema.schema_version.name):
        return None
    version = connection.execute(select(schema.schema_version.c.version)).scalar()
    return None if version is None else int(version)


def revision(version: int) -> str:
    """Name the migration that leads to a version of the schema."""
    return f"{version:04}"


def upgrade(connection: Connection, version: int, target: int = schema.VERSION) -> None:
    """Run the migrations after ``version`` (0: all) up to ``target``."""
    # Late: a hundred milliseconds, and needed once in the life of a database.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)

    def steps(heads: Any, _context: object) -> Any:
        return scripts._upgrade_revs(revision(target), heads)

    _stamp(connection, version)
    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
    connection.execute(update(schema.schema_version).values(version=target))


def _stamp(connection: Connection, version: int) -> None:
    # What the first release made knows nothing of Alembic: its number says where to begin.
    schema.alembic_version.create(connection, checkfirst=True)
    connection.execute(delete(schema.alembic_version))
    if version:
        connection.execute(insert(schema.alembic_version).values(version_num=revision(version)))
