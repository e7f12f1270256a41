"""``remora demo``: an origin, a tracker and four nodes on this host, and what the origin had to give."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from p2p.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from p2p.cli.demo_network import Row

NODES: Final = 4
TIME_LIMIT: Final = 85.0
EGRESS_LIMIT: Final = 1.05
_ROOM: Final = 7
"""Copies of the image that must fit in the temporary directory: layout, origin, four nodes, and air."""


@contextmanager
def scratch(need: int) -> Iterator[Path]:
    """Give a temporary directory with room for ``need`` bytes; it is gone at the end, whatever happened.

    Raises LocalError where there is no such room.
    """
    root = Path(tempfile.mkdtemp(prefix="remora-demo-"))
    try:
        free = shutil.disk_usage(root).free
        if free < need:
            raise LocalError(
                f"temporary directory {root.parent}",
                f"{free >> 20} MiB are free, and the demo needs {need >> 20}",
                "Name another one with TMPDIR",
            )
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def lay_out(rows: Sequence[Row], egress: int) -> Table:
    """Lay out bytes by source; ``egress`` is what the origin gave in all."""
    from rich.table import Table

    from p2p.cli.units import format_size

    table = Table(box=None, padding=(0, 2, 0, 0), show_footer=True)
    table.add_column("node", "together")
    peers, origin = sum(row.peers for row in rows), sum(row.origin for row in rows)
    table.add_column("from peers", format_size(peers), justify="right", no_wrap=True)
    table.add_column("from origin", format_size(origin), justify="right", no_wrap=True)
    table.add_column("seconds", "", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, format_size(row.peers), format_size(row.origin), f"{row.seconds:.1f}")
    table.caption = f"the origin gave {format_size(egress)}"
    table.caption_justify = "left"
    return table


async def run(root: Path) -> float:
    """Do it all in ``root``; gives how many copies of the image left the origin."""
    import trio
    from rich.console import Console

    from p2p.cli.children import open_children
    from p2p.cli.demo_image import make_image
    from p2p.cli.demo_network import REPOSITORY, TAG, pull_everywhere, sent_to_clients, start_network
    from p2p.cli.units import format_size

    begun = trio.current_time()

    def say(text: str) -> None:
        click.echo(f"{trio.current_time() - begun:5.1f} s  {text}")

    images = root / "images" / REPOSITORY
    image = await trio.to_thread.run_sync(make_image, images, f"{REPOSITORY}:{TAG}")
    say(f"made an image of {format_size(image.size)} in {image.blobs} blobs: {REPOSITORY}:{TAG}")
    async with open_children(root) as children:
        network = await start_network(children, root, images, NODES)
        say(f"an origin, a tracker and {NODES} nodes are up; all nodes pull at once")
        rows = await pull_everywhere(network, image)
        sent = await sent_to_clients(network.origin)
        say("every node gave every blob, each verified by its digest")
        Console().print(lay_out(rows, round(sent)))
    say("all stopped")
    return sent / image.size


@click.command("demo")
def command() -> None:
    """Show a whole network on this host, in a temporary directory that is removed at the end.

    An origin registry, a tracker and four nodes start as processes on free ports. All four nodes pull the
    same new image at once. The origin counts what it gives away: one copy, the rest comes from peers.
    """
    import trio

    from p2p.cli.demo_image import SIZES
    from p2p.cli.signals import until_signal

    copies: list[float] = []

    async def main() -> None:
        with scratch(_ROOM * sum(SIZES)) as root:

            async def work() -> None:
                with trio.move_on_after(TIME_LIMIT) as limit:
                    copies.append(await run(root))
                if limit.cancelled_caught:
                    raise LocalError("demo", f"not done after {TIME_LIMIT:g} s", "Is this host very busy?")

            if await until_signal(work):
                raise KeyboardInterrupt

    trio.run(main)
    click.echo(f"origin egress: {copies[0]:.2f} copies")
    if copies[0] > EGRESS_LIMIT:
        raise LocalError(
            "demo", f"more than {EGRESS_LIMIT} copies left the origin", "This is a bug: report it"
        )
