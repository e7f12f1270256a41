from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from p2p.core.dht import events


@pytest.mark.parametrize("kind", [*get_args(events.Event), *get_args(events.Action)])
def test_they_are_values(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
