"""``remora status``: what a running node is doing."""

from __future__ import annotations

import json
from typing import Any

import click


def render(report: dict[str, Any]) -> Any:
    """Lay the report out: one table for each part of it that is an object, and one for what is plain.

    Lists of objects have tables of their own, also those within a part.
    """
    from rich.console import Group
    from rich.table import Table

    plain = {key: value for key, value in report.items() if not isinstance(value, dict | list)}
    parts = {"node": plain} if plain else {}
    parts |= {key: value for key, value in report.items() if isinstance(value, dict)}
    rows = {key: value for key, value in report.items() if isinstance(value, list)}
    for title, part in parts.items():
        within = {key: value for key, value in part.items() if value and is_rows(value)}
        parts[title] = {key: value for key, value in part.items() if key not in within}
        rows |= within
    tables: list[Table] = []
    for title, part in parts.items():
        if part:
            table = Table(
                title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0)
            )
            for key, value in part.items():
                table.add_row(str(key).replace("_", " "), readable(str(key), value))
            tables.append(table)
    for title, listed in rows.items():
        if listed:
            tables.append(render_rows(title, listed))
    return Group(*tables)


def is_rows(value: object) -> bool:
    """Whether a value is a list of objects."""
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def render_rows(title: str, rows: list[Any]) -> Any:
    """Lay a list out: objects as rows under the first one's keys, anything else one in a row."""
    from rich.table import Table

    objects = all(isinstance(row, dict) for row in rows)
    table = Table(title=title, title_justify="left", show_header=objects, box=None, padding=(0, 2, 0, 0))
    keys = list(rows[0]) if objects else [title]
    for key in keys:
        table.add_column(str(key).replace("_", " "))
    for row in rows:
        table.add_row(
            *(readable(str(key), row.get(key)) for key in keys) if objects else (readable("", row),)
        )
    return table


def readable(key: str, value: object) -> str:
    """Write a value for people: bytes with units, truth as yes or no."""
    from p2p.cli.units import format_size

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and (key.endswith("bytes") or key in BYTES):
        return format_size(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict | list):
        return json.dumps(value) if value else "-"
    return "-" if value in (None, "") else str(value)


BYTES = frozenset(
    {
        "size",
        "total",
        "free",
        "capacity",
        "quota",
        "cache",
        "peers_bytes",
        "origin",
        "received_peers",
        "received_origin",
        "sent_peers",
        "sent_clients",
    }
)
"""Keys whose numbers are bytes though their name does not say so."""


@click.command("status")
@click.option("--state", metavar="DIR", help="State directory of the node; else the configured one.")
@click.option("--config", metavar="FILE", help="The node's configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(state: str | None, config: str | None, as_json: bool) -> None:
    """Show what a running node is doing."""
    from p2p.cli.admin import ask
    from p2p.cli.settings import load_settings

    report = ask(load_settings({"state": state} if state else {}, file=config).state, "/status")
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    from rich.console import Console

    Console().print(render(report))
