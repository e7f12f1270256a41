"""What a swarm asks of its shell: values, each of which the shell performs."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from typing import get_args

import pytest

from p2p.core.swarm import actions
from p2p.transfer.runner import Runner
from tests.support.swarm_net import Net

ACTIONS = get_args(actions.Action)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda cls: cls.__name__)
def test_it_is_a_frozen_slotted_value(action: type) -> None:
    assert dataclasses.is_dataclass(action)
    assert action.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(action)


def test_the_union_has_them_all() -> None:
    defined = {
        cls
        for cls in vars(actions).values()
        if inspect.isclass(cls) and cls.__module__ == actions.__name__ and dataclasses.is_dataclass(cls)
    }
    assert defined == set(ACTIONS)


def test_the_shell_performs_each_by_name() -> None:
    """No action falls through in silence."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(Runner._perform)))
    performed = {
        ast.unparse(node.cls).split(".")[-1] for node in ast.walk(tree) if isinstance(node, ast.MatchClass)
    }
    assert performed == {cls.__name__ for cls in ACTIONS}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda cls: cls.__name__)
def test_the_simulated_network_performs_it_too(action: type) -> None:
    assert hasattr(Net, "do_" + action.__name__.lower())
