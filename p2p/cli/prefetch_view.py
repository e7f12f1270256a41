"""How a prefetch is shown: a live table on a terminal, a line now and then elsewhere; and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.cli.units import format_size

if TYPE_CHECKING:
    from rich.table import Table

    from p2p.core.wire.tracker import NodeReport

SOURCES: Final = ("cache", "peers", "origin")
EXIT_ALL, EXIT_SOME, EXIT_NONE = 0, 3, 4
_STYLES: Final = {"done": "green", "failed": "red", "lost": "red", "unknown": "red", "pulling": "cyan"}


def exit_code(rows: Sequence[NodeReport]) -> int:
    """0 where every row is done, 4 where none is (or there is none), 3 otherwise."""
    done = sum(row.state == "done" for row in rows)
    if not done:
        return EXIT_NONE
    return EXIT_ALL if done == len(rows) else EXIT_SOME


def received(row: NodeReport) -> int:
    """Bytes of an image that a node has by now."""
    return sum(count for _, count in row.sources)


def as_json(rows: Sequence[NodeReport], job: str) -> dict[str, object]:
    """Give the report as JSON's types; ``result`` is ``full``, ``partial`` or ``none``."""
    code = exit_code(rows)
    return {
        "job": job,
        "result": {EXIT_ALL: "full", EXIT_SOME: "partial", EXIT_NONE: "none"}[code],
        "rows": [
            {
                "node": row.node,
                "name": row.name,
                "image": row.image,
                "state": row.state,
                "total": row.total,
                "sources": dict(row.sources),
                "detail": row.detail,
            }
            for row in rows
        ],
    }


@dataclass(slots=True)
class _Sample:
    at: float
    count: int
    rate: float = 0.0


class Rates:
    """Bytes a second of each row, smoothed over some reports."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], _Sample] = {}

    def update(self, rows: Sequence[NodeReport], now: float) -> None:
        """Take a report that came at ``now`` (seconds)."""
        for row in rows:
            # Bytes from the cache were there before: they are no transfer.
            count = sum(size for source, size in row.sources if source != "cache")
            sample = self._samples.setdefault((row.node, row.image), _Sample(now, count))
            elapsed = now - sample.at
            if elapsed > 0:
                sample.rate += 0.5 * ((count - sample.count) / elapsed - sample.rate)
                sample.at, sample.count = now, count

    def of(self, row: NodeReport) -> float:
        """Bytes a second of a row; 0 once it has ended."""
        sample = self._samples.get((row.node, row.image))
        return sample.rate if sample and row.state == "pulling" else 0.0


def table(rows: Sequence[NodeReport], rates: Rates) -> Table:
    """Lay the report out: nodes × images, bytes by source, rate."""
    from rich.table import Table

    laid = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("node", "image", "state"):
        laid.add_column(column, overflow="fold")
    for column in (*SOURCES, "of", "rate"):
        laid.add_column(column, justify="right", no_wrap=True)
    laid.add_column("", overflow="fold")
    for row in rows:
        counts = dict(row.sources)
        rate = rates.of(row)
        style = _STYLES.get(row.state, "")
        laid.add_row(
            row.name or row.node[:12],
            row.image,
            f"[{style}]{row.state}[/]" if style else row.state,
            *(format_size(counts.get(source, 0)) for source in SOURCES),
            format_size(row.total) if row.total else "?",
            f"{format_size(rate)}/s" if rate else "",
            row.detail,
        )
    return laid


def line(rows: Sequence[NodeReport]) -> str:
    """Sum the report up: states, and bytes by source."""
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no node"
    total = sum(row.total for row in rows)
    shares = ", ".join(
        f"{format_size(sum(dict(row.sources).get(source, 0) for row in rows))} {source}" for source in SOURCES
    )
    return f"{told}; {format_size(sum(map(received, rows)))} of {format_size(total)} ({shares})"
