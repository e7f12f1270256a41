"""Two front ends on one PostgreSQL: what is pushed at one is pulled and found at the other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.clients import skopeo_push
from tests.support.images import OciLayout, small_layers
from tests.support.nodes import Node, get, pull_image, remora
from tests.support.postgres import Postgres
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "team/app"


@pytest.fixture
def database(directory: Path) -> Iterator[Postgres]:
    with Postgres(directory) as server:
        yield server


def test_one_goes_on_where_the_other_is_killed(directory: Path, database: Postgres) -> None:
    options = ("--hosted", "team/**", "--metadata", database.url())
    layout = OciLayout(directory / "layout")
    first = layout.image(small_layers(layout, 4, 1_500_000, seed=1), tag="1")
    second = layout.image(small_layers(layout, 2, 300_000, seed=9), tag="2")
    with (
        Node("left", directory, options=options) as left,
        Node("right", directory, peers=[left.peer], options=options) as right,
    ):
        skopeo_push(layout.root, "1", f"{left.registry}/{NAME}:1")
        assert pull_image(right.registry, NAME, "1") == first.digest
        assert right.received("peers") >= 6_000_000

        # Tags and deletes count at both at once.
        assert get(left.registry, f"/v2/{NAME}/manifests/1", method="DELETE").status == 202
        assert get(right.registry, f"/v2/{NAME}/manifests/1").status == 404
        skopeo_push(layout.root, "1", f"{left.registry}/{NAME}:1")

        left.kill()
        assert pull_image(right.registry, NAME, "1") == first.digest
        skopeo_push(layout.root, "2", f"{right.registry}/{NAME}:2")
        assert pull_image(right.registry, NAME, "2") == second.digest


def found(node: Node, *query: str) -> dict[str, list[str]]:
    """Digests with their tags, as ``remora search`` finds them."""
    ran = remora("search", *query, "--json", "--registry", f"http://{node.registry}")
    return {one["digest"]: one["tags"] for one in json.loads(ran.stdout)}


def until_found(node: Node, *query: str, wanted: dict[str, list[str]]) -> None:
    wait_until(f"search for {query} finds {wanted}", lambda: found(node, *query) == wanted)


def test_what_is_pushed_at_one_is_found_at_the_other(directory: Path, database: Postgres) -> None:
    options = ("--hosted", "team/**", "--metadata", database.url())
    layout = OciLayout(directory / "layout")
    first = layout.image(small_layers(layout, 1, 100_000, seed=1), tag="1").digest
    second = layout.image(small_layers(layout, 1, 100_000, seed=2), tag="2").digest
    with Node("left", directory, options=options) as left:
        skopeo_push(layout.root, "1", f"{left.registry}/{NAME}:1")
        # One that comes later finds what was there before, and then what happens at the other.
        with Node("right", directory, peers=[left.peer], options=options) as right:
            until_found(right, "team/app", "platform:linux", wanted={first: ["1"]})
            skopeo_push(layout.root, "2", f"{left.registry}/{NAME}:2")
            until_found(right, "tag:2", wanted={second: ["2"]})
            skopeo_push(layout.root, "2", f"{left.registry}/{NAME}:1")
            until_found(right, wanted={first: [], second: ["1", "2"]})
            assert get(left.registry, f"/v2/{NAME}/manifests/{first}", method="DELETE").status == 202
            assert get(left.registry, f"/v2/{NAME}/manifests/2", method="DELETE").status == 202
            until_found(right, "repository:team/*", wanted={second: ["1"]})

            # What happened while it was down.
            right.stop()
            assert get(left.registry, f"/v2/{NAME}/manifests/{second}", method="DELETE").status == 202
            skopeo_push(layout.root, "1", f"{left.registry}/team/other:1")
            right.start()
            until_found(right, wanted={first: ["1"]})
            skopeo_push(layout.root, "2", f"{right.registry}/{NAME}:2")
            until_found(left, "tag:2", wanted={second: ["2"]})
