"""``remora scrub``: have a running node hash what it has stored."""

from __future__ import annotations

import json
import sys
from typing import Any

import click


@click.command("scrub")
@click.argument("digests", metavar="[DIGEST]...", nargs=-1)
@click.option("--state", metavar="DIR", help="State directory of the node; else the configured one.")
@click.option("--config", metavar="FILE", help="The node's configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context, digests: tuple[str, ...], state: str | None, config: str | None, as_json: bool
) -> None:
    """Hash the blobs with these DIGESTs, or all that a running node has, and put the corrupt ones aside.

    Ends with 1 where one is corrupt or can't be read. Interrupted, it stops the node's work too.
    """
    from p2p.cli.admin import follow
    from p2p.cli.settings import load_settings
    from p2p.core.oci.digest import Digest

    wanted = [("digest", str(Digest.parse(text))) for text in digests]
    settings = load_settings({"state": state} if state else {}, file=config)
    count = _Count(shown=not as_json and sys.stderr.isatty())
    summary: dict[str, int] = {}
    wrong: list[dict[str, Any]] = []
    try:
        for line in follow(settings.state, "/scrub", wanted):
            if "summary" in line:
                summary = line["summary"]
            elif "blobs" in line:
                count.begin(line)
            else:
                count.add(line)
                if line["state"] in ("bad", "failed"):
                    wrong.append(line)
    finally:
        count.end()
    if as_json:
        click.echo(json.dumps({**summary, "wrong": wrong}, indent=2))
    else:
        for line in wrong:
            click.echo(f"{line['state']}  {line['digest']}  {line['cause']}")
        hashed = summary["good"] + summary["bad"]
        click.echo(f"{hashed} blobs hashed, {summary['bad']} bad, {summary['failed']} could not be.")
    if wrong:
        ctx.exit(1)


class _Count:
    """A line on a terminal that counts."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._done = self._bytes = 0
        self._of: dict[str, Any] = {"blobs": 0, "bytes": 0}

    def begin(self, line: dict[str, Any]) -> None:
        """Note how many there are."""
        self._of = line
        self._show()

    def add(self, line: dict[str, Any]) -> None:
        """Count one."""
        self._done += 1
        self._bytes += line["size"]
        self._show()

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            click.echo(err=True)

    def _show(self) -> None:
        from p2p.cli.units import format_size

        if self._shown:
            size, total = format_size(self._bytes), format_size(self._of["bytes"])
            text = f"{self._done} of {self._of['blobs']} blobs, {size} of {total}"
            click.echo(f"\r{text:<60}", err=True, nl=False)
