"""Figures, how they are judged, and how they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from rich.table import Table

MB = 1e6
GB = 1e9


class Aim(Enum):
    """Which side of the target is good."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach."""

    aim: Aim
    value: float

    def met(self, value: float) -> bool:
        """Whether ``value`` reaches it."""
        return value >= self.value if self.aim is Aim.AT_LEAST else value <= self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: ``value`` is what the target judges, ``detail`` the measurements behind it.

    ``samples`` are the single measurements by what was measured, in the order they were taken.
    """

    name: str
    value: float
    unit: str
    detail: str
    samples: dict[str, list[float]]
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """``ok``, ``missed by …``, or nothing without a target."""
        if self.target is None:
            return ""
        if self.target.met(self.value):
            return "ok"
        if not self.target.value:
            return "missed"
        return f"missed by {abs(self.value / self.target.value - 1):.0%}"

    def as_json(self) -> dict[str, Any]:
        """Give JSON's types."""
        target = None if self.target is None else f"{self.target.aim.value} {self.target.value:g}"
        return {**asdict(self), "target": target, "verdict": self.verdict}


def ratio(
    name: str, ours: Sequence[float], theirs: Sequence[float], target: Target, *, labels: tuple[str, str]
) -> Figure:
    """Compare rates in bytes a second, measured in alternation: the ratio of the medians."""
    left, right = statistics.median(ours), statistics.median(theirs)
    detail = f"{labels[0]} {left / MB:,.0f} MB/s, {labels[1]} {right / MB:,.0f} MB/s"
    return Figure(name, left / right, "×", detail, {labels[0]: [*ours], labels[1]: [*theirs]}, target)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency(
    name: str, ours: Sequence[float], theirs: Sequence[float], target: Target, *, baseline: str
) -> Figure:
    """Show seconds to the first byte: the median is judged."""
    value = statistics.median(ours) * 1000
    other = statistics.median(theirs) * 1000
    detail = (
        f"p99 {quantile(ours, 0.99) * 1000:.1f} ms of {len(ours)}; "
        f"{baseline} {other:.1f} ms (p99 {quantile(theirs, 0.99) * 1000:.1f} ms)"
    )
    return Figure(name, value, "ms", detail, {"remora": [*ours], baseline: [*theirs]}, target)


def table(figures: Sequence[Figure]) -> Table:
    """Lay the figures out for people."""
    laid = Table(box=None, padding=(0, 2, 0, 0))
    laid.add_column("figure")
    laid.add_column("value", justify="right", no_wrap=True)
    laid.add_column("target", justify="right", no_wrap=True)
    laid.add_column("", no_wrap=True)
    laid.add_column("measured")
    for figure in figures:
        target = "" if figure.target is None else f"{figure.target.aim.value} {figure.target.value:g}"
        style = "green" if figure.verdict == "ok" else "red"
        laid.add_row(
            figure.name,
            f"{figure.value:,.2f} {figure.unit}",
            target,
            f"[{style}]{figure.verdict}[/]" if figure.verdict else "",
            figure.detail,
        )
    return laid
