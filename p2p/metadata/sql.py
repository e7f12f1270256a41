"""All metadata by SQL through SQLAlchemy Core, with hot answers in memory.

Importing this imports SQLAlchemy (tens of milliseconds and megabytes): commands that open no database
must not.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from p2p.metadata.blobs import SqlBlobs
from p2p.metadata.changes import SqlChanges
from p2p.metadata.garbage import SqlGarbage
from p2p.metadata.manifests import SqlManifests
from p2p.metadata.places import SqlPlaces
from p2p.metadata.privacy import SqlPrivacy
from p2p.metadata.records import SqlRecords
from p2p.metadata.sqlite import open_sqlite
from p2p.metadata.uploads import SqlUploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class SqlMetadata(
    SqlRecords, SqlPrivacy, SqlBlobs, SqlManifests, SqlChanges, SqlUploads, SqlGarbage, SqlPlaces
):
    """``Metadata``, ``PrivateRecords`` and ``Hosting`` in one database; made by ``open_metadata``."""


@asynccontextmanager
async def open_metadata(state: Path, url: str = "") -> AsyncIterator[SqlMetadata]:
    """Open ``<state>/metadata.db``, or the PostgreSQL database at ``url``, making or upgrading it.

    Raises LocalError, with the way out, for a database that is corrupt, locked, unwritable, unreachable, or
    of a later release; ConfigError for a URL of another kind.
    """
    if not url:
        async with open_sqlite(state) as embedded:
            yield SqlMetadata(embedded)
        return
    # Late: a node with its own file never loads the driver.
    from p2p.metadata.postgres import open_postgres

    async with open_postgres(url) as shared:
        yield SqlMetadata(shared)
