"""``python -m bench.metadata [--url URL] [--json FILE]``: what a request waits for, by how much there is.

Every repository is hosted and has an image with one tag; those that are asked for are spread over all,
and nothing is answered from memory. One database of each size is asked in turns. Medians over many calls,
in microseconds; they must stay flat.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.engine import make_url

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST, Manifest
from p2p.core.oci.reference import Repository
from p2p.metadata import records, rows, schema
from p2p.metadata.hosting import HOSTED, Accepted, Pushed
from p2p.metadata.sql import open_metadata

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from p2p.metadata.sql import SqlMetadata

SIZES = (1, 1_000, 100_000)
CALLS = 300
TAGS = 100
"""In each repository that is asked for a page of tags, whatever the number of repositories."""
AT_ONCE = 5_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = NOW + timedelta(days=1)
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds of one verb with so many repositories."""

    database: str
    repositories: int
    verb: str
    median: float
    p95: float


def repository(number: int) -> Repository:
    """Name one."""
    return Repository(HOSTED, f"team-{number % 97}/app-{number}")


def content(number: int, what: str, media_type: str) -> Descriptor:
    """Describe what a repository has; every one its own, but for the config."""
    return Descriptor(media_type, Digest.of(f"{what} {number}".encode()), 1_000 + number)


def image(number: int, *tags: str, name: str = "image") -> Pushed:
    """A manifest of the repository's two blobs."""
    manifest = Manifest(
        OCI_MANIFEST, config=content(0, "config", CONFIG), layers=(content(number, "layer", LAYER),)
    )
    required = tuple(child.digest for child in manifest.children)
    return Pushed(content(number, name, OCI_MANIFEST), manifest, tags, required)


def fill(connection: Connection, first: int, end: int) -> None:
    """Write what the pushes of these repositories would have written."""
    numbers = range(first, end)
    table = schema.repository
    named = [
        {"registry": HOSTED, "path": repository(number).path, "changed": rows.stamp(NOW) + number}
        for number in numbers
    ]
    connection.execute(insert(table), named)
    paths = {
        row.path: row.id
        for row in connection.execute(
            select(table.c.path, table.c.id).order_by(table.c.id.desc()).limit(len(named))
        )
    }
    many: dict[str, list[dict[str, Any]]] = {"blob": [], "link": [], "manifest": [], "ref": [], "tag": []}
    for number in numbers:
        owner = paths[repository(number).path]
        pushed = image(number, "v1")
        own, children = pushed.descriptor, pushed.manifest.children
        for each in (own, *children):
            if each is not children[0] or number == 0:  # the config is everybody's
                many["blob"].append({"digest": str(each.digest), "size": each.size, "state": schema.KEPT})
            link = {"digest": str(each.digest), "media_type": each.media_type, "size": each.size}
            many["link"].append({"repository": owner, **link})
            if each is not own:
                reference = {"parent": str(own.digest), "child": str(each.digest)}
                many["ref"].append({"repository": owner, **reference})
        extra = {"subject": None, "artifact_type": CONFIG, "annotations": "[]"}
        many["manifest"].append({"repository": owner, "digest": str(own.digest), **extra})
        target = {"digest": str(own.digest), "media_type": own.media_type, "size": own.size}
        confirmed = {"confirmed_at": rows.stamp(NOW)}
        many["tag"].append({"repository": owner, "name": "v1", **target, **confirmed})
    for name, into in (
        ("blob", schema.blob),
        ("link", schema.link),
        ("manifest", schema.manifest),
        ("ref", schema.manifest_reference),
        ("tag", schema.tag),
    ):
        connection.execute(insert(into), many[name])


async def prepared(metadata: SqlMetadata, size: int) -> dict[str, list[Call]]:
    """Fill a database; gives the calls of each verb, spread over its repositories."""
    for first in range(0, size, AT_ONCE):
        end = min(first + AT_ONCE, size)
        await metadata._database.do(lambda connection, first=first, end=end: fill(connection, first, end))
    asked = [number * max(size // CALLS, 1) % size for number in range(CALLS)]
    paged = repository(asked[-1])
    for number in range(TAGS):
        accepted = await metadata.put_manifest(paged, image(asked[-1], f"t{number:03}"), now=NOW)
        assert accepted == Accepted(), accepted

    def tag(_i: int, n: int) -> Awaitable[object]:
        return metadata.tag(repository(n), "v1")

    def describe(_i: int, n: int) -> Awaitable[object]:
        return metadata.describe(repository(n), image(n).descriptor.digest)

    def hold(_i: int, n: int) -> Awaitable[object]:
        return metadata.hold(repository(n), content(n, "layer", LAYER).digest, lease=LEASE)

    def page(_i: int, _n: int) -> Awaitable[object]:
        return metadata.tags(paged, 50, "t020")

    def catalog(_i: int, n: int) -> Awaitable[object]:
        return metadata.repositories(HOSTED, 50, repository(n).path)

    def changes(_i: int, n: int) -> Awaitable[object]:
        return metadata.changes(HOSTED, 50, (rows.stamp(NOW) + n, ""))

    def manifests(_i: int, n: int) -> Awaitable[object]:
        return metadata.manifests(repository(n), 50)

    def tagged(_i: int, _n: int) -> Awaitable[object]:
        return metadata.tagged(paged, 50, "t020")

    def mount(_i: int, n: int) -> Awaitable[object]:
        return metadata.mount(paged, content(n, "layer", LAYER).digest, None, lease=LEASE)

    def put(i: int, n: int) -> Awaitable[object]:
        return metadata.put_manifest(repository(n), image(n, "v2", name=f"new {i}"), now=NOW)

    def claim(_i: int, n: int) -> Awaitable[object]:
        return metadata.claim(content(n, "layer", LAYER).digest, NOW)

    verbs = {
        "tag": tag,
        "describe": describe,
        "hold": hold,
        "page of 50 tags": page,
        "page of 50 repositories": catalog,
        "page of 50 changes": changes,
        "manifests of a repository": manifests,
        "page of 50 tags with targets": tagged,
        "claim of what is needed": claim,
        "mount from anywhere": mount,
        "put_manifest with a tag": put,
    }
    return {
        name: [lambda i=i, n=n, verb=verb: verb(i, n) for i, n in enumerate(asked)]
        for name, verb in verbs.items()
    }


async def run(sizes: tuple[int, ...], urls: tuple[str, ...]) -> list[Latency]:
    """Measure one kind of database: one of each size, asked in turns, so that noise is the same for all."""
    records.HOT_LINKS = records.HOT_TAGS = 0
    found: list[Latency] = []
    async with AsyncExitStack() as stack:
        calls: list[dict[str, list[Call]]] = []
        for size, url in zip(sizes, urls, strict=True):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="remora-bench-"))
            metadata = await stack.enter_async_context(open_metadata(Path(directory), url))
            calls.append(await prepared(metadata, size))
        for verb in calls[0]:
            taken: list[list[float]] = [[] for _ in sizes]
            for turn in range(CALLS):
                for times, own in zip(taken, calls, strict=True):
                    begin = time.perf_counter_ns()
                    await own[verb][turn]()
                    times.append((time.perf_counter_ns() - begin) / 1_000)
            for size, times in zip(sizes, taken, strict=True):
                p95 = sorted(times)[int(CALLS * 0.95)]
                kind = "postgresql" if urls[0] else "sqlite"
                found.append(Latency(kind, size, verb, statistics.median(times), p95))
    return found


@contextmanager
def databases(url: str, sizes: tuple[int, ...]) -> Iterator[tuple[str, ...]]:
    """Make a database for each size on a server, and remove them."""
    target = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(target, isolation_level="AUTOCOMMIT")
    names = [f"remora_bench_{size}" for size in sizes]
    with engine.connect() as connection:
        try:
            for name in names:
                connection.execute(text(f"CREATE DATABASE {name}"))
            yield tuple(target.set(database=name).render_as_string(hide_password=False) for name in names)
        finally:
            for name in names:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    engine.dispose()


def table(found: list[Latency]) -> Table:
    """Medians (95th percentiles) by verb and number of repositories."""
    sizes = sorted({each.repositories for each in found})
    shown = Table("database", "verb", *(f"{size:,} repositories" for size in sizes), "×")
    for database, verb in dict.fromkeys((each.database, each.verb) for each in found):
        own = {e.repositories: e for e in found if (e.database, e.verb) == (database, verb)}
        cells = [f"{own[size].median:,.0f} µs ({own[size].p95:,.0f})" for size in sizes]
        growth = own[sizes[-1]].median / own[sizes[0]].median
        shown.add_row(database, verb, *cells, f"{growth:.2f}")
    return shown


@click.command()
@click.option("--url", default="", help="A PostgreSQL server on which databases may be made.")
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Where figures go.")
@click.option("--largest", default=SIZES[-1], show_default=True, help="Repositories at the end.")
def main(url: str, output: Path | None, largest: int) -> None:
    """Show that no request waits longer because there are more repositories."""
    sizes = (*tuple(size for size in SIZES if size < largest), largest)
    found = trio.run(run, sizes, ("",) * len(sizes))
    if url:
        with databases(url, sizes) as urls:
            found += trio.run(run, sizes, urls)
    Console(width=160 if not os.isatty(1) else None).print(table(found))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
