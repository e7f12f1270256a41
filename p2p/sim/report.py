"""What runs gave, as a table."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from p2p.sim.scenario import Scenario
    from p2p.sim.world import Result

HEAD = (
    "scenario",
    "N",
    "seeds",
    "chunk times",
    "× bound",
    "median",
    "× honest",
    "copies",
    "asked again",
    "bad",
    "banned",
    "s",
)


def rows(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """One row for each scenario and size; of several seeds the worst makespan and the sums of faults.

    ``× honest``: the makespan against the run of the same seed without liars, the median and the worst, where
    both were run.
    """
    results = list(results)
    slower = against_honest(results)
    found: dict[tuple[str, int], list[Result]] = {}
    for one in results:
        found.setdefault((one.scenario.name, one.scenario.nodes), []).append(one)
    return [_row(*key, group, slower.get(key, {})) for key, group in found.items()]


def against_honest(results: Iterable[Result]) -> dict[tuple[str, int], dict[int, float]]:
    """By how much liars slow a swarm: for each scenario and size, the seeds with their ratio of makespans."""
    results = list(results)
    honest = {_quiet(one.scenario): one.makespan for one in results if not one.scenario.hostile}
    found: dict[tuple[str, int], dict[int, float]] = {}
    for one in results:
        alike = honest.get(_quiet(one.scenario)) if one.scenario.hostile else None
        if alike is not None:
            group = found.setdefault((one.scenario.name, one.scenario.nodes), {})
            group[one.scenario.seed] = one.makespan / alike
    return found


def _quiet(scenario: Scenario) -> Scenario:
    """Give what two scenarios share that differ in their liars alone."""
    return scenario.but(name="", hostile=0.0)


def _row(name: str, nodes: int, group: Sequence[Result], slower: dict[int, float]) -> tuple[str, ...]:
    worst = max(group, key=lambda one: (one.failed, one.makespan))
    unit = worst.makespan / worst.units
    against = ""
    if slower:
        seed = max(slower, key=lambda one: slower[one])
        against = f"{median(slower.values()):.2f}, worst {slower[seed]:.2f} (seed {seed})"
    return (
        name + (f" ({worst.failed} not complete)" if worst.failed else ""),
        str(nodes),
        str(len(group)),
        f"{worst.units:.0f}",
        f"{worst.ratio:.3f}",
        f"{worst.median / unit:.0f}",
        against,
        f"{max(one.copies for one in group):.2f}",
        str(sum(one.again for one in group)),
        str(sum(one.bad for one in group)),
        str(sum(one.banned_honest for one in group)),
        f"{sum(one.wall for one in group):.0f}",
    )


def table(results: Iterable[Result]) -> str:
    """Give a table in Markdown, which reads well in a terminal too."""
    lines = [HEAD, *rows(results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
