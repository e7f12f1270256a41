"""Two front ends on one PostgreSQL: what is pushed at one is pulled at the other, its bytes from peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.clients import skopeo_push
from tests.support.images import OciLayout, small_layers
from tests.support.nodes import Node, get, pull_image
from tests.support.postgres import Postgres

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
