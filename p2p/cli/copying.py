"""``remora copy``: an image from one registry to another, bytes and digests as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from p2p.cli import push
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from p2p.toolkit.api import Listener
    from p2p.toolkit.client import Client
    from p2p.toolkit.pushing import Pushed


@click.command("copy")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which one of several; else this host's.")
@click.option("--all-platforms", is_flag=True, help="The whole index, with the images of all platforms.")
@click.option("--referrers", is_flag=True, help="Signatures, SBOMs and all else that refers to it too.")
@click.option("--node", metavar="URL", default="", help="Get SRC through the node there, and so from peers.")
@push.plain_http
@push.ca_file
@push.as_json
def command(
    source: str,
    target: str,
    platform: str | None,
    all_platforms: bool,
    referrers: bool,
    node: str,
    plain_http: tuple[str, ...],
    ca_file: str,
    as_json: bool,
) -> None:
    """Copy the image SRC to DST, straight from registry to registry.

    Nothing is stored on this host. Credentials are those that docker login or podman login stored.
    """
    import trio

    from p2p.toolkit.client import Client

    if platform and all_platforms:
        raise ConfigError("--platform", "it contradicts --all-platforms", "Give one of them")
    client = Client(node=node, platform=platform, plain_http=plain_http, ca_file=ca_file)

    async def work(client: Client, listener: Listener) -> Pushed:
        return await client.copy(
            source, target, all_platforms=all_platforms, referrers=referrers, progress=listener
        )

    async def main() -> Pushed:
        return await push.perform(client, work, "copying", quiet=as_json)

    push.report(trio.run(main), as_json=as_json)
