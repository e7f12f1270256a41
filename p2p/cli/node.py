"""``remora node``: run a node until SIGTERM or SIGINT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse_upstream(text: str) -> tuple[str, str]:
    """Read ``NAME=URL``."""
    name, equals, url = text.partition("=")
    if not equals or not name or not url:
        raise ConfigError(
            "--upstream", f"{text!r} is not NAME=URL", "Write it as hub=https://registry.example.com"
        )
    return name, url


def to_table(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Put the flags that were given into a table of settings."""
    table: dict[str, Any] = {}
    for flag, path in (
        ("name", ("name",)),
        ("state", ("state",)),
        ("tracker", ("tracker",)),
        ("zone", ("zone",)),
        ("rack", ("rack",)),
        ("log_level", ("log_level",)),
        ("log_format", ("log_format",)),
        ("registry_listen", ("registry", "listen")),
        ("default_upstream", ("registry", "default_upstream")),
        ("peer_listen", ("peer", "listen")),
        ("insecure", ("peer", "insecure")),
        ("peer", ("peer", "static")),
        ("bootstrap", ("dht", "bootstrap")),
        ("cluster_key_file", ("dht", "cluster_key_file")),
        ("metrics_listen", ("metrics", "listen")),
        ("hosted", ("hosting", "repositories")),
        ("metadata", ("metadata", "url")),
        ("content", ("hosting", "content")),
        ("htpasswd", ("auth", "htpasswd")),
        ("limit_up", ("limits", "up")),
        ("limit_down", ("limits", "down")),
        ("limit_origin", ("limits", "origin")),
        ("limit_prefetch", ("limits", "prefetch")),
    ):
        value = flags.get(flag)
        if value is None or value in ((), False):
            continue
        below = table
        for part in path[:-1]:
            below = below.setdefault(part, {})
        below[path[-1]] = value
    if flags.get("host"):
        table["host"] = [str(Path(directory).absolute()) for directory in flags["host"]]
    upstreams = dict(parse_upstream(text) for text in flags.get("upstream") or ())
    if upstreams:
        table["upstreams"] = {name: {"url": url} for name, url in upstreams.items()}
    return table


@click.command("node")
@click.option("--config", metavar="FILE", help="TOML file; else $REMORA_CONFIG, else /etc/remora/node.toml.")
@click.option("--name", help="Name of this node; else the host's.")
@click.option("--state", metavar="DIR", help="Where blobs and everything else is kept.")
@click.option("--registry-listen", metavar="HOST:PORT", help="Where clients pull from (port 0: any).")
@click.option("--peer-listen", metavar="HOST:PORT", help="Where other nodes pull from.")
@click.option("--metrics-listen", metavar="HOST:PORT", help="Where metrics and health are.")
@click.option("--tracker", metavar="URL", multiple=True, help="A tracker, ws://host:5010; repeatable.")
@click.option("--zone", metavar="NAME", help="This node's zone: what is cheap to reach among itself.")
@click.option("--rack", metavar="NAME", help="This node's rack, within its zone.")
@click.option(
    "--peer", metavar="HOST:PORT", multiple=True, help="A peer known without a tracker; repeatable."
)
@click.option("--bootstrap", metavar="HOST:PORT", multiple=True, help="A node of the DHT; repeatable.")
@click.option("--cluster-key-file", metavar="FILE", help="The cluster's key: find nodes by the DHT too.")
@click.option("--host", metavar="DIR", multiple=True, help="Serve the images of an OCI layout; repeatable.")
@click.option(
    "--hosted", metavar="GLOB", multiple=True, help="Repositories that can be pushed here; repeatable."
)
@click.option("--metadata", metavar="URL", help="A shared PostgreSQL database, postgresql://…")
@click.option("--content", metavar="URL", help="Where all front ends keep pushes, s3://… or file:///…")
@click.option("--htpasswd", metavar="FILE", help="Users and bcrypt passwords of the registry's clients.")
@click.option("--limit-up", metavar="RATE", help="Most bytes a second to peers: 50MB/s.")
@click.option("--limit-down", metavar="RATE", help="From peers and upstream registries together.")
@click.option("--limit-origin", metavar="RATE", help="From upstream registries.")
@click.option("--limit-prefetch", metavar="RATE", help="Of what only prefetches want.")
@click.option("--upstream", metavar="NAME=URL", multiple=True, help="An upstream registry; repeatable.")
@click.option("--default-upstream", metavar="NAME", help="The upstream of names that don't say one.")
@click.option("--insecure", is_flag=True, help="Listen for peers beyond loopback without authentication.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="json, console or auto.")
@click.option("--print-config", is_flag=True, help="Print the settings in effect as TOML, and end.")
def command(config: str | None, print_config: bool, **flags: Any) -> None:
    """Run a node.

    It serves /v2/ to container runtimes, gets blobs from peers and upstream registries, and gives them to
    other nodes. Without any flag it works on loopback, from the well-known public registries. One line of
    JSON on stdout tells when it is ready and which addresses it has.
    """
    from p2p.cli.settings import effective, load_settings

    settings = load_settings(to_table(flags), file=config)
    if print_config:
        from p2p.cli.toml import dumps

        click.echo(dumps(effective(settings)), nl=False)
        return

    import msgspec
    import trio

    from p2p.cli.signals import until_signal
    from p2p.node.daemon import run_node

    def ready(info: object) -> None:
        click.echo(msgspec.json.encode(info))

    trio.run(until_signal, lambda: run_node(settings, ready=ready))
