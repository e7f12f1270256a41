import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.cli.toml import dumps

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
PLAIN = st.one_of(
    st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
ROWS = st.lists(st.dictionaries(TEXT, st.one_of(PLAIN, st.lists(TEXT, max_size=2)), max_size=3), max_size=2)
TABLES = st.recursive(
    st.dictionaries(TEXT, st.one_of(PLAIN, st.lists(TEXT), ROWS)),
    lambda below: st.dictionaries(TEXT, below),
    max_leaves=8,
)


@pytest.mark.slow
@given(TABLES)
def test_what_is_written_is_read_back(table: dict[str, object]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_plain_values_come_before_tables() -> None:
    assert dumps({"a": {"b.c": {"d": 1}}, "e": ["x"]}) == 'e = ["x"]\n\n[a."b.c"]\nd = 1\n'


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        dumps({"a": None})
