"""A real PostgreSQL of a test's own, from Debian's package, on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Self

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.support.processes import Process, ProcessFailedError, free_port, run

USER = "postgres"
"""Who it runs as where the tests are root, whom it refuses."""


def find(name: str) -> str:
    """Find one of its programs: Debian keeps them off the path. Never a skip."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(places[-1]) if places else shutil.which(name)
    if found is None:
        raise ProcessFailedError(f"{name} is not installed: run tests/e2e/install.sh as root")
    return found


class Postgres(Process):
    """A cluster with trust for loopback. Its data vanish when it is left; ``stop`` and ``start`` keep them.

    ``directory`` receives its output only: the user it runs as can't enter a root's directory.
    """

    def __init__(self, directory: Path, *, name: str = "postgres") -> None:
        self._home = Path(tempfile.mkdtemp(prefix="remora-pg-"))
        self.port = free_port()
        as_user: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(self._home, account.pw_uid, account.pw_gid)
            as_user = ["setpriv", f"--reuid={USER}", f"--regid={account.pw_gid}", "--init-groups", "--"]
        data = self._home / "data"
        made = [find("initdb"), "-D", data, "-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8"]
        # A collation that is not ASCII's: that tags come in ASCII order is ours to see to.
        run([*as_user, *made, "--locale=C.UTF-8", "--lc-collate=C.UTF-8"], cwd=self._home)
        argv = [
            *as_user,
            *(find("postgres"), "-D", data, "-p", self.port, "-k", self._home),
            *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60", "-c", "deadlock_timeout=200ms"),
        ]
        super().__init__(name, argv, directory)

    def url(self, database: str = USER) -> str:
        """Where a database is."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def wait_ready(self) -> None:
        """Wait until it answers."""
        self.wait_for("an answer", self._answers, timeout=60)

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except OperationalError:
            return False
        return True

    def execute(self, statement: str, database: str = USER) -> list[tuple[object, ...]]:
        """Run one statement and give its rows."""
        url = self.url(database).replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def make(self, database: str) -> str:
        """Make an empty database (anew) and give its URL."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.execute(f"CREATE DATABASE {database}")
        return self.url(database)

    def stop(self, timeout: float = 15.0) -> int | None:
        """End it without waiting for its clients (SIGINT; SIGTERM would), and return its exit code."""
        if self.running:
            os.kill(self.pid, signal.SIGINT)
            self.wait(timeout)
        return self.returncode

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._home, ignore_errors=True)
