"""``python -m bench.hosted [--largest N] [--json FILE]``: what a client waits for, by how much is hosted.

Real nodes, whose databases hold so many repositories (each an image with a tag; see ``bench.metadata``), are
asked over HTTP in turns: a manifest by tag, a push of a tag, a page of tags. The images that are asked for
were pushed like any other, to repositories spread over all. Medians in microseconds; they must stay flat.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.metadata import AT_ONCE, CALLS, SIZES, TAGS, Latency, fill, table
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.metadata.sql import open_metadata
from tests.support.nodes import Node
from tests.support.processes import kill_all

IMAGES = 20
"""Real images, each in a repository of its own."""
CONFIG = b"{}"


class Client:
    """One kept connection to a node, as clients have it."""

    def __init__(self, node: Node) -> None:
        self._connection = http.client.HTTPConnection(node.registry, timeout=60)

    def __call__(self, method: str, path: str, body: bytes = b"", status: int = 200) -> bytes:
        """Make a request that must have this answer; gives its body."""
        headers = {"Content-Type": OCI_MANIFEST} if "/manifests/" in path and body else {}
        self._connection.request(method, path, body=body, headers=headers)
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status == status, (method, path, answer.status, data[:500])
        return data


async def prefill(state: Path, size: int) -> None:
    """Write what pushes of so many repositories would have written."""
    async with open_metadata(state, "") as metadata:
        for first in range(0, size, AT_ONCE):
            end = min(first + AT_ONCE, size)
            await metadata._database.do(lambda connection, first=first, end=end: fill(connection, first, end))


def name(number: int) -> str:
    """Name a repository with a real image; they lie between the others."""
    return f"team-{number * 5}/real-{number}"


def image(number: int) -> bytes:
    """An image's manifest; its one blob is its config."""
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(CONFIG).hexdigest()}",
        "size": len(CONFIG),
    }
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": [],
        "annotations": {"number": str(number)},
    }
    return json.dumps(document).encode()


def pushed(client: Client) -> dict[str, Callable[[int], object]]:
    """Push the real images; gives what is measured, each asked with the number of its turn."""
    digest = hashlib.sha256(CONFIG).hexdigest()
    for number in range(IMAGES):
        client("POST", f"/v2/{name(number)}/blobs/uploads/?digest=sha256:{digest}", CONFIG, 201)
        client("PUT", f"/v2/{name(number)}/manifests/v1", image(number), 201)
    for tag in range(TAGS):
        client("PUT", f"/v2/{name(0)}/manifests/t{tag:03}", image(0), 201)
    return {
        "GET manifest by tag": lambda turn: client("GET", f"/v2/{name(turn % IMAGES)}/manifests/v1"),
        "PUT manifest with a new tag": lambda turn: client(
            "PUT", f"/v2/{name(turn % IMAGES)}/manifests/new-{turn}", image(turn % IMAGES), 201
        ),
        "GET page of 50 tags": lambda _: client("GET", f"/v2/{name(0)}/tags/list?n=50&last=t020"),
        "GET page of 50 repositories": lambda turn: client(
            "GET", f"/v2/_catalog?n=50&last={name(turn % IMAGES)}"
        ),
    }


def run(sizes: tuple[int, ...], directory: Path) -> list[Latency]:
    """Start a node of each size and ask them in turns, so that noise is the same for all."""
    found: list[Latency] = []
    with ExitStack() as stack:
        verbs: list[dict[str, Callable[[int], object]]] = []
        for size in sizes:
            state = directory / f"state-{size}"
            state.mkdir()
            trio.run(prefill, state, size)
            node = Node(f"hosts-{size}", directory, state=state, options=("--hosted", "**"))
            verbs.append(pushed(Client(stack.enter_context(node))))
        for verb in verbs[0]:
            taken: list[list[float]] = [[] for _ in sizes]
            for turn in range(CALLS):
                for times, own in zip(taken, verbs, strict=True):
                    begin = time.perf_counter_ns()
                    own[verb](turn)
                    times.append((time.perf_counter_ns() - begin) / 1_000)
            for size, times in zip(sizes, taken, strict=True):
                p95 = sorted(times)[int(CALLS * 0.95)]
                found.append(Latency("over HTTP", size, verb, statistics.median(times), p95))
    return found


@click.command()
@click.option("--json", "output", type=click.Path(dir_okay=False, path_type=Path), help="Where figures go.")
@click.option("--largest", default=SIZES[-1], show_default=True, help="Repositories at the end.")
def main(output: Path | None, largest: int) -> None:
    """Show that no client waits longer because there are more repositories."""
    sizes = (*tuple(size for size in SIZES if size < largest), largest)
    directory = Path(tempfile.mkdtemp(prefix="remora-bench-"))
    try:
        found = run(sizes, directory)
    finally:
        kill_all()
        shutil.rmtree(directory, ignore_errors=True)
    Console(width=160 if not os.isatty(1) else None).print(table(found))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
