import io

import pytest
from rich.console import Console

from p2p.cli.prefetch_view import Rates, as_json, exit_code, line, received, table
from p2p.core.wire.tracker import NodeReport

MIB = 1 << 20


def row(state: str, name: str = "a", **sources: int) -> NodeReport:
    return NodeReport(
        f"id-{name}", name, "app:1", state, 10 * MIB, tuple(sources.items()), "why" * (state == "failed")
    )


@pytest.mark.parametrize(
    ("states", "code", "result"),
    [
        (["done", "done"], 0, "full"),
        (["done", "failed"], 3, "partial"),
        (["done", "lost"], 3, "partial"),
        (["done", "pulling"], 3, "partial"),
        (["failed", "unknown"], 4, "none"),
        (["waiting"], 4, "none"),
        ([], 4, "none"),
    ],
)
def test_the_exit_code_tells_the_truth(states: list[str], code: int, result: str) -> None:
    rows = [row(state) for state in states]
    assert exit_code(rows) == code
    report = as_json(rows, "job-1")
    assert report["result"] == result
    assert len(report["rows"]) == len(states)


def test_bytes_are_counted_by_source() -> None:
    rows = [row("pulling", cache=MIB, peers=2 * MIB), row("done", "b", origin=10 * MIB)]
    assert received(rows[0]) == 3 * MIB
    assert (
        line(rows)
        == "1 done, 1 pulling; 13.0 MiB of 20.0 MiB (1.0 MiB cache, 2.0 MiB peers, 10.0 MiB origin)"
    )
    assert line([]).startswith("no node; ")


def test_rates_are_of_what_was_transferred() -> None:
    rates = Rates()
    rates.update([row("pulling", cache=5 * MIB)], 0.0)
    rates.update([row("pulling", cache=9 * MIB, peers=2 * MIB)], 1.0)
    assert rates.of(row("pulling")) == MIB
    assert rates.of(row("done")) == 0.0
    rates.update([row("pulling", peers=2 * MIB)], 1.0)  # two reports at one instant divide nothing by zero


def test_the_table_shows_every_row() -> None:
    rows = [
        row("pulling", peers=MIB),
        row("failed", "b"),
        NodeReport("0123456789abcdef", "", "x:1", "lost", 0, ()),
    ]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table(rows, Rates()))
    text = console.export_text()
    for words in ("1.0 MiB", "why", "0123456789ab", "lost", "?"):
        assert words in text
