"""``python -m p2p.sim``: runs the scenarios of the report, two at a time, prints a table and draws plots."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from p2p.sim.catalog import HOSTILE_SEEDS, groups
from p2p.sim.plots import draw
from p2p.sim.report import table
from p2p.sim.world import run

if TYPE_CHECKING:
    from collections.abc import Sequence

PROCESSES = 2


def main(arguments: Sequence[str]) -> int:
    """Run what the command line says; 1 where a wrong byte was complete or an honest node was banned."""
    parser = argparse.ArgumentParser(
        prog="python -m p2p.sim", description="Simulate swarms (docs/simulation.md)."
    )
    parser.add_argument(
        "group", nargs="*", help="crowd, streaming, alone, baselines, hostile …; all by default"
    )
    parser.add_argument("--nodes", type=int, default=10_000, help="the largest swarm")
    parser.add_argument("--seeds", type=int, default=HOSTILE_SEEDS, help="of each scenario with liars")
    parser.add_argument("--out", type=Path, default=Path("build/sim"), help="where plots go")
    parser.add_argument("--docs", type=Path, help="where SVGs go as well, for the documentation")
    options = parser.parse_args(arguments)
    known = groups(options.nodes, options.seeds)
    if unknown := [name for name in options.group if name not in known]:
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(known)}")
    scenarios = [one for name in options.group or known for one in known[name]]
    # The long ones first, so that the two processes end together.
    order = sorted(range(len(scenarios)), key=lambda at: -scenarios[at].nodes)
    with ProcessPoolExecutor(PROCESSES) as pool:
        found = dict(zip(order, pool.map(run, [scenarios[at] for at in order]), strict=True))
    results = [found[at] for at in range(len(scenarios))]
    print(table(results))
    for path in draw(results, options.out) + (draw(results, options.docs, ["svg"]) if options.docs else []):
        print(path)
    return int(any(one.bad or one.banned_honest for one in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
