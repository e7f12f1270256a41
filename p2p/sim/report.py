"""What runs gave, as a table and as plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from p2p.sim.world import Result

HEAD = (
    "scenario",
    "N",
    "seeds",
    "chunk times",
    "× bound",
    "median",
    "copies",
    "asked again",
    "bad",
    "banned",
    "s",
)


def rows(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """One row for each scenario and size; of several seeds the worst makespan and the sums of faults."""
    found: dict[tuple[str, int], list[Result]] = {}
    for one in results:
        found.setdefault((one.scenario.name, one.scenario.nodes), []).append(one)
    return [_row(name, nodes, group) for (name, nodes), group in found.items()]


def _row(name: str, nodes: int, group: Sequence[Result]) -> tuple[str, ...]:
    worst = max(group, key=lambda one: (one.failed, one.makespan))
    unit = worst.makespan / worst.units
    return (
        name + (f" ({worst.failed} not complete)" if worst.failed else ""),
        str(nodes),
        str(len(group)),
        f"{worst.units:.0f}",
        f"{worst.ratio:.3f}",
        f"{worst.median / unit:.0f}",
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


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Draw makespan, completion curves and origin copies as PNG and SVG; gives the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "remora"
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    single = [one for one in results if one.scenario.hostile == 0 and one.scenario.name != "honest"]
    names = list(dict.fromkeys(one.scenario.name for one in single))
    written: list[Path] = []

    def save(name: str) -> None:
        if plt.gca().lines:
            plt.legend(fontsize="small")
        plt.tight_layout()
        for kind in ("png", "svg"):
            path = folder / f"{name}.{kind}"
            plt.savefig(path, metadata={"Date": None} if kind == "svg" else None)
            written.append(path)
        plt.close()

    def by_size(what: str, title: str, file: str) -> None:
        plt.figure(figsize=(7, 4))
        for name in names:
            group = [one for one in single if one.scenario.name == name]
            plt.plot(
                [one.scenario.nodes for one in group], [getattr(one, what) for one in group], "o-", label=name
            )
        plt.xscale("log")
        plt.xlabel("nodes")
        plt.ylabel(title)
        save(file)

    by_size("ratio", "makespan / (M + floor(log2 N))", "makespan")
    by_size("copies", "copies read from the origin", "origin")
    plt.figure(figsize=(7, 4))
    for one in single:
        unit = one.makespan / one.units
        step = max(1, len(one.times) // 200)
        times = [at / unit for at in one.times[::step]]
        share = [index / len(one.times) for index in range(0, len(one.times), step)]
        plt.plot(times, share, label=f"{one.scenario.name}, {one.scenario.nodes}")
    plt.xlabel("chunk times")
    plt.ylabel("complete nodes")
    save("completion")
    return written
