from __future__ import annotations

from p2p.metadata.database import ConflictError
from p2p.metadata.postgres import Shared
from p2p.metadata.sqlite import Embedded


def test_which_databases_others_write_to() -> None:
    assert Shared.shared
    assert not Embedded.shared


def test_a_conflict_is_no_fault_of_the_database() -> None:
    assert ConflictError.__bases__ == (Exception,)
