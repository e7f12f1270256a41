"""``remora pull``: an image, through a node, into an OCI layout directory or a tar of one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2p.errors import ConfigError

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Platform
    from p2p.toolkit.image import ImageName
    from p2p.toolkit.pulling import Pulled


def default_output(image: ImageName) -> Path:
    """Name a directory after the image: ``nginx-1.27``."""
    tag = image.identifier.rpartition(":")[2][:12] if ":" in image.identifier else image.identifier
    return Path(f"{image.name.rpartition('/')[2]}-{tag}")


async def run(
    node: str, image: str, output: Path, platform: Platform | None, *, everything: bool, quiet: bool
) -> Pulled:
    """Pull ``image`` from the node at ``node`` to ``output``: a tar where it ends in ``.tar``."""
    from p2p.cli.progress import listener, show
    from p2p.toolkit.client import Client

    async with Client(node=node, platform=platform) as client:
        with show(terminal=sys.stderr.isatty(), quiet=quiet) as progress:
            return await client.pull(image, output, all_platforms=everything, progress=listener(progress))


@click.command("pull")
@click.argument("image")
@click.option(
    "--output", "-o", metavar="DIR|FILE.tar", help="Where to; else a directory named after the image."
)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which one of several; else this host's.")
@click.option("--all", "everything", is_flag=True, help="All platforms.")
@click.option(
    "--node", metavar="URL", default="http://127.0.0.1:5000", show_default=True, help="The node to ask."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and no progress.")
def command(
    image: str, output: str | None, platform: str | None, everything: bool, node: str, as_json: bool
) -> None:
    """Pull IMAGE through a running node into an OCI layout, verified, resuming what an earlier pull left.

    IMAGE is a name as for docker pull. The first part may be one of the node's upstreams.
    """
    import trio

    from p2p.cli.units import format_size
    from p2p.core.oci.descriptor import Platform
    from p2p.toolkit.image import ImageName

    if platform and everything:
        raise ConfigError("--platform", "it contradicts --all", "Give one of them")
    name = ImageName.parse(image)
    wanted = Platform.parse(platform) if platform else None
    target = Path(output) if output else default_output(name)

    async def main() -> Pulled:
        return await run(node, image, target, wanted, everything=everything, quiet=as_json)

    pulled = trio.run(main)
    if as_json:
        report = {
            "image": image,
            "digest": str(pulled.descriptor.digest),
            "media_type": pulled.descriptor.media_type,
            "output": str(target),
            "blobs": pulled.blobs,
            "bytes": pulled.total,
            "received": pulled.received,
        }
        click.echo(json.dumps(report))
    else:
        click.echo(
            f"{pulled.descriptor.digest}  {pulled.blobs} blobs, {format_size(pulled.total)} → {target}"
        )
