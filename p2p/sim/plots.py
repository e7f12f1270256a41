"""What runs gave, as plots: PNG to look at, SVG for the documentation. The same runs make the same bytes."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from p2p.sim.report import against_honest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from p2p.sim.world import Result

POINTS = 60
"""Of a curve at most, so that a plot stays a small file."""

GOALS = {1.0: "the bound", 1.15: "goal with tracker", 1.3: "goal without"}

CUT = 2.5
"""Times the bound at which completion curves are cut; the legend tells how long all took."""

KINDS = ("png", "svg")


def draw(results: Sequence[Result], folder: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Draw makespan, completion curves, origin copies and what liars cost; gives the files.

    A plot that none of the results has anything for is not drawn.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "remora"
    mpl.rcParams["svg.fonttype"] = "none"  # words as words: outlines of letters are most of a small file
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    single = [one for one in results if not one.scenario.hostile and one.scenario.name != "honest"]
    slower = against_honest(results)
    written: list[Path] = []
    plots: dict[str, Callable[[Axes], None]] = {}
    if single:
        plots["makespan"] = partial(_makespan, single)
        plots["completion"] = partial(_completion, single)
        plots["origin"] = partial(_origin, single)
    if slower:
        plots["hostile"] = partial(_hostile, slower)
    for name, fill in plots.items():
        figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
        fill(axes)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # each further drawing would move it by a hair
        for kind in kinds:
            path = folder / f"{name}.{kind}"
            figure.savefig(path, metadata={"Date": None, "Creator": None} if kind == "svg" else None)
            written.append(path)
        plt.close(figure)
    return written


def _by_name(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for one in results:
        found.setdefault(one.scenario.name, []).append(one)
    return found


def _makespan(single: Sequence[Result], axes: Axes) -> None:
    for name, group in _by_name(single).items():
        lost = sum(one.failed for one in group)
        axes.plot(
            [one.scenario.nodes for one in group],
            [one.ratio for one in group],
            "o-",
            label=f"{name} ({lost} not complete)" if lost else name,
        )
    for (at, what), style in zip(GOALS.items(), ("-", "--", ":"), strict=True):
        axes.axhline(at, color="black", linewidth=1, linestyle=style, label=what)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = (1, 1.15, 1.3, 2, 5, 10, 25)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_xlabel("nodes")
    axes.set_ylabel("makespan / (M + ⌊log2 N⌋)")


def _completion(single: Sequence[Result], axes: Axes) -> None:
    for one in single:
        if not one.times:
            continue
        bound = one.makespan / one.ratio
        count = len(one.times)
        points = sorted({math.ceil(step * (count - 1) / POINTS) for step in range(POINTS + 1)})
        axes.plot(
            [one.times[at] / bound for at in points],
            [(at + 1) / one.scenario.nodes for at in points],
            label=f"{one.scenario.name}, {one.scenario.nodes}: {one.ratio:.2f}",
        )
    axes.set_xlim(0.9, CUT)
    axes.set_xlabel("time / (M + ⌊log2 N⌋) chunk times")
    axes.set_ylabel("complete nodes")


def _origin(single: Sequence[Result], axes: Axes) -> None:
    for name, group in _by_name(single).items():
        axes.plot([one.scenario.nodes for one in group], [one.copies for one in group], "o-", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("nodes")
    axes.set_ylabel("copies read from the origin")


def _hostile(slower: dict[tuple[str, int], dict[int, float]], axes: Axes) -> None:
    for (name, nodes), seeds in slower.items():
        ordered = sorted(seeds.values())
        count = len(ordered)
        points = sorted({math.ceil(step * (count - 1) / POINTS) for step in range(POINTS + 1)})
        axes.plot(
            [ordered[at] for at in points],
            [(at + 1) / count for at in points],
            "o-",
            markersize=3,
            label=f"{name}, {nodes} honest nodes",
        )
    axes.axvline(2.0, color="black", linewidth=1, linestyle="--", label="goal")
    axes.set_xlabel("makespan / makespan of the same seed without liars")
    axes.set_ylabel("seeds")
