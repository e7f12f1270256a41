from __future__ import annotations

from p2p.search.query import FILTERS, parse_query
from p2p.search.schema import statement


def test_values_are_parameters_only() -> None:
    hostile = '"\'; DROP TABLE document; --"'
    terms = parse_query(f"{hostile} annotation:k={hostile}")
    sql, values = statement(terms, repository="a/b", before=9, n=5)
    assert "DROP" not in sql
    assert sql.count("?") == len(values)
    assert values[:2] == ["a/b", 9]
    assert values[-1] == 5


def test_every_filter_has_its_condition() -> None:
    for name in FILTERS:
        sql, values = statement(parse_query(f"{name}:1"), repository=None, before=None, n=1)
        assert " WHERE " in sql
        assert sql.count("?") == len(values)


def test_no_terms() -> None:
    sql, values = statement((), repository=None, before=None, n=3)
    assert " WHERE d" not in sql
    assert values == [3]
