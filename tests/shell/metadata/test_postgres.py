"""What needs no server; the suites run on a real one in tests/e2e/test_postgres.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from p2p.errors import ConfigError, LocalError
from p2p.metadata.database import ConflictError
from p2p.metadata.postgres import TRIES, Shared, open_postgres

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@pytest.fixture
def database() -> Iterator[Shared]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    yield Shared(engine, "it")
    engine.dispose()


class Contended:
    def __init__(self, conflicts: int) -> None:
        self.left = conflicts
        self.ran = 0

    def __call__(self, connection: Connection) -> int:
        self.ran += 1
        if self.left:
            self.left -= 1
            raise ConflictError
        return self.ran


async def test_a_transaction_runs_again_after_a_conflict(database: Shared) -> None:
    assert await database.do(Contended(3)) == 4


async def test_conflicts_without_end_are_an_error(database: Shared) -> None:
    work = Contended(1000)
    with pytest.raises(LocalError, match="other transactions"):
        await database.do(work)
    assert work.ran == TRIES


async def test_another_fault_is_not_tried_again(database: Shared) -> None:
    ran = []

    def work(connection: Connection) -> None:
        ran.append(1)
        connection.exec_driver_sql("SELECT 1 FROM nowhere")

    with pytest.raises(LocalError, match="nowhere"):
        await database.do(work)
    assert len(ran) == 1


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite:///file", "no url at all", "http://host"])
async def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"metadata\.url"):
        async with open_postgres(url):
            pass


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(LocalError, match="server runs") as caught:
        async with open_postgres("postgresql://me:secret@127.0.0.1:1/db?connect_timeout=5"):
            pass
    assert "127.0.0.1:1/db" in caught.value.subject
    assert "secret" not in str(caught.value)
