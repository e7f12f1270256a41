"""``remora explain``: what a running node knows of one digest."""

from __future__ import annotations

import json

import click


@click.command("explain")
@click.argument("digest")
@click.option("--state", metavar="DIR", help="State directory of the node; else the configured one.")
@click.option("--config", metavar="FILE", help="The node's configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(digest: str, state: str | None, config: str | None, as_json: bool) -> None:
    """Tell what a running node knows of DIGEST: what it has, who else has it, where it gets it from."""
    from p2p.cli.admin import ask
    from p2p.cli.settings import load_settings
    from p2p.core.oci.digest import Digest

    wanted = Digest.parse(digest)
    settings = load_settings({"state": state} if state else {}, file=config)
    report = ask(settings.state, "/explain", {"digest": str(wanted)})
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    from rich.console import Console

    from p2p.cli.status import render

    Console().print(render(report))
