"""The DHT at work: ``python -m bench.dht [--short] [--only NAME …]``.

Two hundred nodes, each with its own UDP socket, key, routing table and seals, in a few processes; a
quarter of them is then stopped without a word. And one node under a flood of datagrams that are not for it.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.dht_flood import flood
from bench.dht_network import network

if TYPE_CHECKING:
    from collections.abc import Callable

SCENARIOS: dict[str, Callable[[bool], dict[str, Any]]] = {"network": network, "flood": flood}


@click.command()
@click.option("--short", is_flag=True, help="60 nodes and 200,000 datagrams.")
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Repeatable; else both.")
@click.option(
    "--json",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("bench/results/dht.json"),
    show_default=True,
)
def main(short: bool, only: tuple[str, ...], output: Path) -> None:
    """Measure the DHT on this machine; ends with 1 where a promise is broken."""
    results: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
    }
    broken: list[str] = []
    for name in only or SCENARIOS:
        figures = SCENARIOS[name](short)
        broken += figures["broken"]
        results[name] = figures
        click.echo(f"{name}:")
        for key, value in figures.items():
            click.echo(f"  {key.replace('_', ' ')}: {value}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
