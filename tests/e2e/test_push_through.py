"""A push through a node: at the real upstream, in the node, and from there at its peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.clients import skopeo_push
from tests.support.images import OciLayout, small_layers
from tests.support.nodes import Node, Tracker, pull_image
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from pathlib import Path

NAME = "lab/app"


def test_pushed_once_and_pulled_everywhere(directory: Path) -> None:
    layout = OciLayout(directory / "layout")
    image = layout.image(small_layers(layout, 3, 2_500_000, seed=4), tag="1")
    config = directory / "node.toml"
    config.write_text('[hosting]\npush_through = ["lab/**"]\n')
    with (
        DockerRegistry(directory) as registry,
        Tracker(directory) as tracker,
        Node(
            "near",
            directory,
            upstreams={"lab": registry.address},
            tracker=tracker.url,
            options=("--config", str(config)),
        ) as near,
        Node("far", directory, upstreams={"lab": registry.address}, tracker=tracker.url) as far,
    ):
        skopeo_push(layout.root, "1", f"{near.registry}/{NAME}:1")
        assert pull_image(registry.address, "app", "1") == image.digest
        registry.traffic()
        assert pull_image(near.registry, NAME, "1") == image.digest
        assert pull_image(far.registry, NAME, "1") == image.digest
        # What was pushed is in the cluster already: the upstream gives none of it.
        assert registry.traffic().copies(image.blobs) == 0.0
