"""``remora push``: an OCI layout into a registry; and what all commands share that write to one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.toolkit.api import Listener
    from p2p.toolkit.client import Client
    from p2p.toolkit.pushing import Pushed

plain_http = click.option(
    "--plain-http",
    metavar="HOST",
    multiple=True,
    help="A registry that has no TLS, as host or host:port; loopback is asked so anyway. Repeatable.",
)
ca_file = click.option("--ca-file", metavar="FILE", default="", help="Certificates that are trusted as well.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and no progress.")


async def perform(
    client: Client, work: Callable[[Client, Listener], Awaitable[Pushed]], verb: str, *, quiet: bool
) -> Pushed:
    """Push or copy with a client, showing how it goes."""
    from p2p.cli.progress import listener, show

    async with client:
        with show(terminal=sys.stderr.isatty(), quiet=quiet, verb=verb, place="there") as progress:
            return await work(client, listener(progress))


def report(pushed: Pushed, *, as_json: bool) -> None:
    """Print what came of it."""
    from p2p.cli.units import format_size

    if as_json:
        click.echo(json.dumps(to_json(pushed)))
        return
    blobs = [f"{pushed.uploaded} blobs uploaded ({format_size(pushed.uploaded_bytes)})"]
    if pushed.mounted:
        blobs.append(f"{pushed.mounted} mounted")
    if pushed.skipped:
        blobs.append(f"{pushed.skipped} already there")
    if pushed.referrers:
        blobs.append(f"{pushed.referrers} referrers")
    click.echo(f"{pushed.digest}  {', '.join(blobs)} → {pushed.image}")


def to_json(pushed: Pushed) -> dict[str, Any]:
    """Give the result as JSON has it."""
    return {
        "image": pushed.image,
        "digest": str(pushed.digest),
        "media_type": pushed.descriptor.media_type,
        "manifests": pushed.manifests,
        "referrers": pushed.referrers,
        "blobs": {"uploaded": pushed.uploaded, "mounted": pushed.mounted, "skipped": pushed.skipped},
        "bytes": {
            "uploaded": pushed.uploaded_bytes,
            "mounted": pushed.mounted_bytes,
            "skipped": pushed.skipped_bytes,
        },
    }


@click.command("push")
@click.argument("path")
@click.argument("image")
@click.option("--ref", metavar="NAME", default="", help="Which image, where the layout has several.")
@click.option(
    "--referrers", is_flag=True, help="What the layout has that refers to it too: signatures, SBOMs."
)
@plain_http
@ca_file
@as_json
def command(
    path: str,
    image: str,
    ref: str,
    referrers: bool,
    plain_http: tuple[str, ...],
    ca_file: str,
    as_json: bool,
) -> None:
    """Push the OCI layout PATH, a directory or an uncompressed tar, to the registry that IMAGE names.

    Credentials are those that docker login or podman login stored. Blobs that are there are skipped, so that
    a push that broke goes on where it was.
    """
    import trio

    from p2p.toolkit.client import Client

    client = Client(plain_http=plain_http, ca_file=ca_file)

    async def work(client: Client, listener: Listener) -> Pushed:
        return await client.push(path, image, ref_name=ref, referrers=referrers, progress=listener)

    async def main() -> Pushed:
        return await perform(client, work, "pushing", quiet=as_json)

    report(trio.run(main), as_json=as_json)
