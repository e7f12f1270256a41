"""``remora gc``: have a running node collect what nothing refers to any more."""

from __future__ import annotations

import json

import click


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option("--now", is_flag=True, help="Review what is queued for later too; leases hold all the same.")
@click.option("--state", metavar="DIR", help="State directory of the node; else the configured one.")
@click.option("--config", metavar="FILE", help="The node's configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(dry_run: bool, now: bool, state: str | None, config: str | None, as_json: bool) -> None:
    """Delete hosted blobs and manifests that nothing refers to and on which no lease is, now.

    The node does so by itself; this is for who wants the room, or wants to look.
    """
    from p2p.cli.admin import follow
    from p2p.cli.settings import load_settings
    from p2p.cli.units import format_size

    settings = load_settings({"state": state} if state else {}, file=config)
    flags = [(name, "1") for name, given in (("dry_run", dry_run), ("now", now)) if given]
    gone: list[dict[str, object]] = []
    summary: dict[str, object] = {}
    for line in follow(settings.state, "/gc", flags):
        if "summary" in line:
            summary = line["summary"]
            continue
        gone.append(line)
        if not as_json:
            click.echo(f"{line['digest']}  {format_size(line['size']):>9}")
    if as_json:
        click.echo(json.dumps({**summary, "collected": gone}, indent=2))
        return
    size = format_size(sum(line["size"] for line in gone if isinstance(line["size"], int)))
    click.echo(f"{len(gone)} blobs, {size}, {'would go' if dry_run else 'are gone'}.")
    queue = f"{summary['queued']}, overdue: {summary['overdue']}, put off: {summary['retries']}"
    click.echo(f"Queued for review: {queue}.")
    if not summary["collects"]:
        click.echo("Another front end of the same database collects: ask that one.", err=True)
