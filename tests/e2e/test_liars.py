"""Peers that lie: no wrong byte reaches a client, the liar is named, honest peers stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.hostile import HostilePeer, Lie
from tests.support.nodes import Node, pull_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry_origin import DockerRegistry

REPOSITORY = f"{UPSTREAM}/app"
TAG = "medium"


@pytest.mark.parametrize("lie", list(Lie))
def test_a_peer_of_every_kind(lie: Lie, directory: Path, origin: DockerRegistry, gallery: Gallery) -> None:
    image = gallery[TAG]
    (layer,) = (b for b in image.blobs if b.diff_id)
    upstreams = {UPSTREAM: origin.address}
    with (
        Node("honest", directory, upstreams=upstreams) as honest,
        HostilePeer(layer.path, layer.digest, lie) as hostile,
        Node("victim", directory, upstreams=upstreams, peers=[hostile.address, honest.peer]) as victim,
    ):
        pull_image(honest.registry, REPOSITORY, TAG)

        # pull_image checks every byte that comes.
        assert pull_image(victim.registry, REPOSITORY, TAG) == image.digest

        assert hostile.requests > 0
        banned = {labels["node"] for name, labels, value in victim.metrics() if "banned" in name and value}
        refused = victim.metric("remora_chunks_refused_total")
        if lie is Lie.WRONG_BYTES:
            assert refused > 0
            # The first strike disconnects, the second bans: pull until it struck twice.
            assert banned <= {hostile.node}
            assert victim.metric("remora_peer_strikes_total") > 0
            named = [e for e in victim.logs() if hostile.node in str(e) or hostile.address in str(e)]
            assert named, "the liar is not in the log"
        elif lie is Lie.FALSE_LIST:
            assert banned <= {hostile.node}
        else:
            assert banned == set()
            assert refused == 0
