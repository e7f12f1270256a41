"""``python -m bench [--short] [--json FILE] [--only NAME …]``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from bench.figures import Figure, table
from bench.rig import Rig
from bench.scenarios import SCENARIOS
from tests.support.clients import require_all
from tests.support.images import GIB, MIB
from tests.support.processes import kill_all


@click.command()
@click.option("--short", is_flag=True, help="256 MiB in place of 1 GiB, and fewer samples.")
@click.option(
    "--json",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("bench/results/latest.json"),
    show_default=True,
    help="Where the figures go as JSON.",
)
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Repeatable; else all.")
@click.option("--strict", is_flag=True, help="End with 1 when a target is missed.")
def main(short: bool, output: Path, only: tuple[str, ...], strict: bool) -> None:
    """Measure Remora against nginx, docker-registry and curl, on this machine, in this run."""
    require_all()
    console = Console() if sys.stdout.isatty() else Console(width=160)
    directory = Path(tempfile.mkdtemp(prefix="remora-bench-"))
    rig = Rig(
        directory,
        size=256 * MIB if short else GIB,
        repetitions=3 if short else 5,
        samples=50 if short else 200,
    )
    figures: list[Figure] = []
    failed: list[str] = []
    try:
        with rig.running():
            for name in only or SCENARIOS:
                console.print(f"[dim]{name} …[/]")
                try:
                    figures += SCENARIOS[name](rig)
                except AssertionError as error:
                    failed.append(name)
                    console.print(f"{name} failed: {error}", markup=False, highlight=False)
    finally:
        kill_all()
        shutil.rmtree(directory, ignore_errors=True)
    console.print(table(figures))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(_report(rig, figures), indent=1))
    console.print(f"[dim]{output}[/]")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    if strict and any(figure.verdict.startswith("missed") for figure in figures):
        raise SystemExit(1)


def _report(rig: Rig, figures: list[Figure]) -> dict[str, object]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "blob_bytes": rig.size,
        "repetitions": rig.repetitions,
        "figures": [figure.as_json() for figure in figures],
    }


if __name__ == "__main__":
    main(prog_name="python -m bench")
