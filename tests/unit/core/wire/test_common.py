"""Values that several messages hold, as they stand on the wire."""

from __future__ import annotations

import msgspec

from p2p.core.wire.common import PROTOCOL_VERSION, Holding, Provider


def test_positions_are_the_protocol() -> None:
    """An array has no names: fields are only ever appended, with a default."""
    assert PROTOCOL_VERSION == 2
    assert msgspec.to_builtins(Provider("id", "name", "host", 1)) == ["id", "name", "host", 1, False, ""]
    assert msgspec.to_builtins(Holding("d", 3, 2, complete=False)) == ["d", 3, 2, False]


def test_they_are_values() -> None:
    assert Provider("a", "b", "c", 1) == Provider("a", "b", "c", 1)
    assert len({Holding("d", 1, 1, complete=True), Holding("d", 1, 1, complete=True)}) == 1
