"""``remora pull``: an image, through a node, into an OCI layout directory or a tar of one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2p.errors import ConfigError, LocalError

if TYPE_CHECKING:
    from p2p.cli.image import ImageName
    from p2p.cli.pulling import Pulled
    from p2p.core.oci.descriptor import Platform


def default_output(image: ImageName) -> Path:
    """Name a directory after the image: ``nginx-1.27``."""
    tag = image.identifier.rpartition(":")[2][:12] if ":" in image.identifier else image.identifier
    return Path(f"{image.name.rpartition('/')[2]}-{tag}")


async def run(node: str, image: ImageName, output: Path, platform: Platform | None, *, quiet: bool) -> Pulled:
    """Pull ``image`` from the node at ``node`` to ``output``: a tar where it ends in ``.tar``."""
    import httpx
    import trio

    from p2p.cli.image import ImageClient
    from p2p.cli.layout import Layout, pack
    from p2p.cli.progress import show
    from p2p.cli.pulling import pull_image

    tar = output.suffix == ".tar"
    root = output.with_name(f".{output.name}.layout") if tar else output
    layout = Layout(root)
    try:
        layout.create()
    except OSError as error:
        raise LocalError(f"output {output}", f"can't be made: {error.strerror}", "Check the path") from error
    async with httpx.AsyncClient(
        base_url=node, timeout=httpx.Timeout(60.0, connect=5.0), trust_env=False
    ) as http:
        with show(terminal=sys.stderr.isatty(), quiet=quiet) as progress:
            pulled = await pull_image(ImageClient(http, image), image, layout, platform, progress)
    if tar:
        try:
            await trio.to_thread.run_sync(pack, root, output)
        except OSError as error:
            raise LocalError(
                f"output {output}", f"can't be written: {error.strerror}", "Check space"
            ) from error
        await trio.to_thread.run_sync(shutil.rmtree, root)
    return pulled


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

    from p2p.cli.image import ImageName, host_platform
    from p2p.cli.units import format_size
    from p2p.core.oci.descriptor import Platform

    if platform and everything:
        raise ConfigError("--platform", "it contradicts --all", "Give one of them")
    if not node.startswith(("http://", "https://")):
        raise ConfigError("--node", f"{node!r} is not a URL", "Write it as http://127.0.0.1:5000")
    name = ImageName.parse(image)
    wanted = None if everything else Platform.parse(platform) if platform else host_platform()
    target = Path(output) if output else default_output(name)

    async def main() -> Pulled:
        return await run(node, name, target, wanted, quiet=as_json)

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
