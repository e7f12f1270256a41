"""``remora search``: find images that a node hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from p2p.errors import ConfigError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

PATH: Final = "/v2/_remora/search/images"
PAGE: Final = 100


def find(client: httpx.Client, registry: str, query: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Ask page after page: up to ``limit`` matches, and whether the index was complete.

    RemoteError with the node's own words where it refuses, or does not answer as a search does.
    """
    from p2p.cli.admin import read_answer

    found: list[dict[str, Any]] = []
    complete, last = True, ""
    while len(found) < limit:
        params = {"q": query, "n": str(min(PAGE, limit - len(found)))} | ({"last": last} if last else {})
        answer = read_answer(_get(client, registry, params), f"registry {registry}")
        results, following = answer.get("results"), answer.get("next")
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise RemoteError(f"registry {registry}", "it does not answer as a search does")
        found += results
        complete = complete and answer.get("complete") is not False
        if not isinstance(following, str) or following == last:
            break
        last = following
    return found[:limit], complete


def _get(client: httpx.Client, registry: str, params: dict[str, str]) -> httpx.Response:
    import httpx

    try:
        return client.get(PATH, params=params)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = str(error) or type(error).__name__
        raise RemoteError(
            f"registry {registry}", f"it can't be reached: {words}", "Is it running? Name it with --registry"
        ) from error


def rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, str, str]]:
    """Lay matches out: name, digest, platforms, type, size."""
    from p2p.cli.units import format_size

    for one in found:
        tags, platforms = one.get("tags") or [], one.get("platforms") or []
        name = str(one.get("repository", ""))
        size = one.get("size")
        yield (
            f"{name}:{tags[0]}" + (f" (+{len(tags) - 1})" if len(tags) > 1 else "") if tags else name,
            str(one.get("digest", ""))[:19],
            ", ".join(map(str, platforms)) or "-",
            str(one.get("artifactType") or one.get("mediaType") or "-"),
            format_size(size) if isinstance(size, int) else "-",
        )


@click.command("search")
@click.argument("query", nargs=-1)
@click.option(
    "--registry", metavar="URL", default="http://127.0.0.1:5000", show_default=True, help="The node to ask."
)
@click.option("--limit", "-n", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most.")
@click.option("--json", "as_json", is_flag=True, help="Print the matches as JSON.")
def command(query: tuple[str, ...], registry: str, limit: int, as_json: bool) -> None:
    """Find images that a node hosts, the latest first. All parts of QUERY must match.

    A word begins a word of names, tags, annotations or the artifact type. Filters: repository:team/*
    tag:1.* digest:sha256:… platform:linux/arm64 artifact-type:… media-type:… annotation:key=value
    size:>100MB referrers:>0 subject:sha256:…
    """
    import httpx

    if not registry.startswith(("http://", "https://")):
        raise ConfigError("--registry", f"{registry!r} is not a URL", "Write it as http://127.0.0.1:5000")
    # Each argument is one term: the shell has taken the quotes that held it together.
    text = " ".join(_quoted(part) for part in query)
    try:
        client = httpx.Client(base_url=registry, timeout=httpx.Timeout(30.0, connect=5.0), trust_env=False)
    except httpx.InvalidURL as error:
        raise ConfigError("--registry", f"{registry!r} is not a URL: {error}", "Check it") from error
    with client:
        found, complete = find(client, registry.rpartition("@")[2], text, limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    _show(found, complete=complete)


def _quoted(part: str) -> str:
    if '"' in part or not any(map(str.isspace, part)):
        return part
    name, colon, value = part.partition(":")
    if colon and not any(map(str.isspace, name)):
        return f'{name}:"{value}"'
    return f'"{part}"'


def _show(found: list[dict[str, Any]], *, complete: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("image", "digest", "platforms", "type", "size"):
        table.add_column(title, overflow="fold")
    for row in rows(found):
        table.add_row(*row)
    if found:
        Console(markup=False).print(table)
    else:
        click.echo("Nothing matches.")
    if not complete:
        click.echo("The index is being built: there may be more.", err=True)
