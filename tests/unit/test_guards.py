"""The table of guards agrees with the code; `make guards` takes each out and looks whether it is missed."""

import ast

import pytest

from tests.support.guards import ROOT, load

GUARDS = load()


def test_there_are_guards():
    assert len(GUARDS) > 60
    assert len({guard.bug for guard in GUARDS}) == len(GUARDS)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.bug)
def test_a_guard_is_there_once_and_the_code_without_it_is_code(guard):
    text = (ROOT / guard.file).read_text()
    without = guard.without(text)
    assert ast.dump(ast.parse(without)) != ast.dump(ast.parse(text))
    for test in guard.tests:
        file, _, name = test.partition("::")
        path = ROOT / file
        assert path.exists(), test
        assert not name or f"def {name}(" in path.read_text(), test
