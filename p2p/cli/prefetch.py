"""``remora prefetch``: have the cluster's nodes pull images, through the tracker."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from p2p.errors import ConfigError

if TYPE_CHECKING:
    from p2p.core.wire.tracker import JobReport

Show = Callable[["JobReport"], None]


async def run(
    urls: Sequence[str], images: tuple[str, ...], nodes: tuple[str, ...], patience: float, show: Show
) -> JobReport:
    """Ask any tracker, show each report, and give the last one: of the end, or after ``patience`` seconds.

    A signal or the end of patience stops the job. Raises TrackerError where the tracker fails,
    KeyboardInterrupt for the signal.
    """
    import trio

    from p2p.cli.signals import until_signal
    from p2p.cli.tracker_client import open_any_tracker

    reports: list[JobReport] = []

    async with open_any_tracker(urls) as tracker:

        async def follow() -> None:
            await tracker.prefetch(images, nodes)
            with trio.move_on_after(patience):
                while not (reports and reports[-1].done):
                    reports[:] = [await tracker.next_report()]
                    show(reports[-1])

        interrupted = await until_signal(follow)
        if reports and not reports[-1].done:
            with trio.move_on_after(2.0):
                await tracker.cancel(reports[-1].job)
        if interrupted:
            raise KeyboardInterrupt
        if not reports:
            raise tracker.silent(patience)
    return reports[-1]


def display(*, terminal: bool, quiet: bool) -> tuple[AbstractContextManager[Any], Show]:
    """Choose how reports are shown: a live table, a line whenever something changed, or not at all."""
    if quiet:
        return nullcontext(), lambda _: None
    from p2p.cli.prefetch_view import Rates, line, table

    if not terminal:
        last = ""

        def tell(report: JobReport) -> None:
            nonlocal last
            now = line(report.rows)
            if now != last:
                click.echo(now, err=True)
            last = now

        return nullcontext(), tell

    import trio
    from rich.console import Console
    from rich.live import Live

    rates = Rates()
    live = Live(console=Console(stderr=True), auto_refresh=False)

    def refresh(report: JobReport) -> None:
        rates.update(report.rows, trio.current_time())
        live.update(table(report.rows, rates), refresh=True)

    return live, refresh


@click.command("prefetch")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--tracker", metavar="URL", multiple=True, help="A tracker, ws://host:5010; else those configured."
)
@click.option(
    "--nodes", metavar="GLOB", multiple=True, help="Nodes whose name matches; repeatable; else all."
)
@click.option(
    "--timeout", metavar="DURATION", default="1h", show_default=True, help="Give up after, as in 10m."
)
@click.option("--config", metavar="FILE", help="Configuration file that names the tracker.")
@click.option("--json", "as_json", is_flag=True, help="Print the final report as JSON, and no progress.")
def command(
    images: tuple[str, ...],
    tracker: tuple[str, ...],
    nodes: tuple[str, ...],
    timeout: str,
    config: str | None,
    as_json: bool,
) -> None:
    """Have the nodes of a cluster pull each IMAGE, and watch them do it.

    Ends with 0 if every node has every image, 3 if some have, 4 if none has, 1 if the tracker can't be
    reached, 2 if the command is wrong. Ctrl-C stops the job.
    """
    import trio

    from p2p.cli import prefetch_view
    from p2p.cli.settings import load_settings
    from p2p.cli.units import parse_duration
    from p2p.cli.validate import check_tracker
    from p2p.core.oci.reference import Reference

    for image in images:
        Reference.parse(image)
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise ConfigError("--timeout", str(error)) from error
    urls = tracker or load_settings({}, file=config).tracker
    if not urls:
        raise ConfigError("tracker", "none is configured", "Name it with --tracker ws://host:5010")
    for url in urls:
        check_tracker(url)
    context, show = display(terminal=sys.stderr.isatty(), quiet=as_json)

    async def main() -> JobReport:
        with context:
            return await run(urls, images, nodes or ("*",), seconds, show)

    report = trio.run(main)
    if as_json:
        click.echo(json.dumps(prefetch_view.as_json(report.rows, report.job)))
    else:
        for row in report.rows:
            if row.state != "done":
                click.echo(f"{row.name or row.node[:12]}  {row.image}  {row.state}  {row.detail}".rstrip())
        click.echo(prefetch_view.line(report.rows))
    raise SystemExit(prefetch_view.exit_code(report.rows))
