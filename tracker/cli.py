"""``remora tracker``: run a tracker until SIGTERM or SIGINT."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import click

from tracker.settings import dump, load

if TYPE_CHECKING:
    from p2p.net.server import Server
    from tracker.settings import TrackerSettings

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP counts as well: a closed terminal must not leave a tracker behind."""


async def run_until_signal(settings: TrackerSettings) -> None:
    """Serve; print the ready line; the first signal stops in good order, a second one at once."""
    import trio

    from tracker.server import run

    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
                await run(settings, task_status=task_status)
                nursery.cancel_scope.cancel()

            server: Server = await nursery.start(serve)
            click.echo(json.dumps({"event": "ready", "listen": server.addresses[0]}))
            await anext(signals)
            server.stop()
            await anext(signals)
            nursery.cancel_scope.cancel()


@click.command("tracker")
@click.option("--listen", metavar="HOST:PORT", help="Where nodes connect; port 0 takes a free one.")
@click.option("--config", metavar="FILE", help="TOML file; else $REMORA_TRACKER_CONFIG.")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback without authentication.")
@click.option(
    "--lease-scope", metavar="SCOPE", help="One stream from an origin for the cluster, or each zone."
)
@click.option("--zone-copies", type=float, metavar="N", help="Copies of a blob let into a zone; 0: any.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="json, console or auto.")
@click.option("--print-config", is_flag=True, help="Print the settings in effect as TOML, and end.")
def command(
    listen: str | None,
    config: str | None,
    insecure: bool | None,
    lease_scope: str | None,
    zone_copies: float | None,
    log_level: str | None,
    log_format: str | None,
    print_config: bool,
) -> None:
    """Run a tracker.

    It knows which node has what, tells nodes whom to ask, and lets one of them at a time stream a blob from
    its origin. It keeps nothing on disk: after a restart the nodes tell it all again. One line of JSON on
    stdout tells when it is ready and where it listens.
    """
    flags = {
        "listen": listen,
        "insecure": insecure,
        "lease_scope": lease_scope,
        "zone_copies": zone_copies,
        "log_level": log_level,
        "log_format": log_format,
    }
    settings = load(config, os.environ, flags)
    if print_config:
        click.echo(dump(settings), nl=False)
        return

    import trio

    from tracker.logs import configure

    configure(settings.log_level, settings.log_format)
    trio.run(run_until_signal, settings)
