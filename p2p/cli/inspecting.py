"""``remora inspect``: what an image is made of, without pulling it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from p2p.cli import push
from p2p.cli.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from p2p.toolkit.inspecting import ConfigSummary, Inspected, Part


def to_json(inspected: Inspected) -> dict[str, Any]:
    """Give it as JSON has it; the manifest as the registry has it."""
    return {
        "image": inspected.image,
        "digest": str(inspected.digest),
        "media_type": inspected.descriptor.media_type,
        "size": len(inspected.data),
        "platforms": list(inspected.platforms),
        "manifest": json.loads(inspected.data),
        "images": [_part_json(part) for part in inspected.parts],
        "referrers": [referrer.to_json() for referrer in inspected.referrers],
    }


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "digest": str(part.descriptor.digest),
        "platform": part.platform,
        "size": part.size,
        "artifact_type": part.artifact_type,
        "annotations": dict(part.annotations),
        "layers": [layer.to_json() for layer in part.layers],
        "config": None if part.config is None else _config_json(part.config),
    }


def _config_json(config: ConfigSummary) -> dict[str, Any]:
    return {
        "created": config.created,
        "user": config.user,
        "working_dir": config.working_dir,
        "entrypoint": list(config.entrypoint),
        "command": list(config.command),
        "env": list(config.env),
        "ports": list(config.ports),
        "labels": dict(config.labels),
    }


def lines(inspected: Inspected) -> Iterator[str]:
    """Give it as people read it."""
    yield f"{inspected.image}"
    yield f"  digest      {inspected.digest}"
    yield f"  type        {inspected.descriptor.media_type}"
    if inspected.manifest.is_index:
        yield f"  platforms   {', '.join(inspected.platforms) or 'none named'}"
    for part in inspected.parts:
        yield ""
        kind = f"  {_clean(part.artifact_type)}" if part.artifact_type else ""
        yield f"  {part.platform or 'no platform'}{kind}  {format_size(part.size)}  {part.descriptor.digest}"
        for layer in part.layers:
            yield f"    layer     {layer.digest.hex[:12]}  {format_size(layer.size):>9}  {layer.media_type}"
        if part.config is not None:
            yield from _config_lines(part.config)
    if inspected.referrers:
        yield ""
        yield "  referrers"
        for referrer in inspected.referrers:
            yield f"    {referrer.digest}  {_clean(referrer.artifact_type or referrer.media_type)}"


def _config_lines(config: ConfigSummary) -> Iterator[str]:
    rows = (
        ("created", config.created),
        ("user", config.user),
        ("directory", config.working_dir),
        ("entrypoint", " ".join(config.entrypoint)),
        ("command", " ".join(config.command)),
        ("ports", ", ".join(config.ports)),
    )
    for name, value in rows:
        if value:
            yield f"    {name:<10}{_clean(value)}"
    for key, value in config.labels:
        yield f"    label     {_clean(key)}={_clean(value)}"


def _clean(text: str) -> str:
    """Keep what an image says of itself from steering the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


@click.command("inspect")
@click.argument("image")
@click.option("--node", metavar="URL", default="", help="Ask the node there instead of the registry.")
@push.plain_http
@push.ca_file
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, with the manifest.")
def command(image: str, node: str, plain_http: tuple[str, ...], ca_file: str, as_json: bool) -> None:
    """Show the manifest, platforms, sizes, configuration and referrers of IMAGE.

    Asks its registry, or the node that --node names. Nothing is stored.
    """
    import trio

    from p2p.toolkit.client import Client

    client = Client(node=node, plain_http=plain_http, ca_file=ca_file)

    async def main() -> Inspected:
        async with client:
            return await client.inspect(image)

    inspected = trio.run(main)
    if as_json:
        click.echo(json.dumps(to_json(inspected)))
        return
    for line in lines(inspected):
        click.echo(line)
