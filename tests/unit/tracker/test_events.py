from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from tracker import events


def test_events_and_actions_are_values():
    for kind in (*get_args(events.Event), *get_args(events.Action)):
        assert kind.__dataclass_params__.frozen
        assert not hasattr(kind(*[0] * len(kind.__dataclass_fields__)), "__dict__")
    with pytest.raises(FrozenInstanceError):
        events.Close(1, "x").conn = 2
