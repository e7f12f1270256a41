"""What can happen to a swarm: values, each of which the machine takes."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from typing import get_args

import pytest

from p2p.core.swarm import events
from p2p.core.swarm.swarm import Swarm

EVENTS = get_args(events.Event)


def cases(function: object) -> set[str]:
    """The class names that the ``match`` statements of a function have patterns for."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]  # a function
    return {
        ast.unparse(node.cls).split(".")[-1] for node in ast.walk(tree) if isinstance(node, ast.MatchClass)
    }


@pytest.mark.parametrize("event", EVENTS, ids=lambda cls: cls.__name__)
def test_it_is_a_frozen_slotted_value(event: type) -> None:
    assert dataclasses.is_dataclass(event)
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(event)


def test_the_union_has_them_all() -> None:
    defined = {
        cls
        for cls in vars(events).values()
        if inspect.isclass(cls) and cls.__module__ == events.__name__ and dataclasses.is_dataclass(cls)
    }
    assert defined == set(EVENTS)


def test_the_machine_takes_each_by_name() -> None:
    """No event falls through in silence."""
    assert cases(Swarm._take) == {cls.__name__ for cls in EVENTS}
