"""How far the index has followed what is hosted: kept in its file, so that a restart goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2p.core.oci.reference import Repository

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from p2p.sqlite import Database

TABLES: Final = ("document", "tag", "platform", "annotation", "words", "waiting")


class Progress:
    """Of one index. Raises LocalError when the file fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, source: str) -> None:
        """Follow this database: what was built of another one is forgotten."""

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT source FROM state").fetchone()[0] == source:
                return
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
            connection.execute("UPDATE state SET complete = 0, source = ?, at = 0, path = ''", (source,))

        await self._database.do(work)

    async def is_complete(self) -> bool:
        """Whether everything that was hosted before is in it."""
        return await self._database.do(
            lambda connection: bool(connection.execute("SELECT complete FROM state").fetchone()[0])
        )

    async def mark(self, *, complete: bool) -> None:
        """Remember whether it is."""
        await self._database.do(
            lambda connection: connection.execute("UPDATE state SET complete = ?", (complete,))
        )

    async def position(self) -> tuple[int, str]:
        """Give the change that it has followed to: its time and its repository's path."""
        at, path = await self._database.do(
            lambda connection: connection.execute("SELECT at, path FROM state").fetchone()
        )
        return int(at), str(path)

    async def advance(self, position: tuple[int, str]) -> None:
        """It has followed to here; never back."""
        await self._database.do(
            lambda connection: connection.execute(
                "UPDATE state SET at = ?, path = ? WHERE (at, path) < (?, ?)", (*position, *position)
            )
        )

    async def put_off(self, repository: Repository) -> None:
        """Something of it could not be read: it is to be tried again, after all others that wait."""

        def work(connection: sqlite3.Connection) -> None:
            place = (repository.registry, repository.path)
            connection.execute("DELETE FROM waiting WHERE registry = ? AND path = ?", place)
            connection.execute("INSERT INTO waiting (registry, path) VALUES (?, ?)", place)

        await self._database.do(work)

    async def done(self, repository: Repository) -> None:
        """Nothing of it waits any more."""
        await self._database.do(
            lambda connection: connection.execute(
                "DELETE FROM waiting WHERE registry = ? AND path = ?", (repository.registry, repository.path)
            )
        )

    async def waiting(self, n: int) -> Sequence[Repository]:
        """Give up to ``n`` that wait, the longest waiting first."""
        rows = await self._database.do(
            lambda connection: connection.execute(
                "SELECT registry, path FROM waiting ORDER BY key LIMIT ?", (n,)
            ).fetchall()
        )
        return [Repository(str(registry), str(path)) for registry, path in rows]
