"""Peers that lie: no wrong byte reaches a client, the liar is named, honest peers stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.hostile import HostilePeer, Lie
from tests.support.nodes import Node, Tracker, pull_blob, pull_image, swarm

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
    # A false list only shows where it is gone by: where an honest peer is quicker it never is.
    alone = lie is Lie.FALSE_LIST
    with (
        Node("honest", directory, upstreams=upstreams) as honest,
        HostilePeer({layer.digest: layer.path}, lie) as hostile,
        Node(
            "victim",
            directory,
            upstreams=upstreams,
            peers=[hostile.address] if alone else [hostile.address, honest.peer],
        ) as victim,
    ):
        pull_image(honest.registry, REPOSITORY, TAG)

        # pull_image checks every byte that comes.
        assert pull_image(victim.registry, REPOSITORY, TAG) == image.digest

        assert hostile.requests > 0
        banned = {labels["node"] for name, labels, value in victim.metrics() if "banned" in name and value}
        refused = victim.metric("remora_chunks_refused_total")
        if lie is Lie.WRONG_BYTES:
            assert refused > 0
            # The first strike disconnects, the second bans: see below.
            assert banned <= {hostile.node}
            assert victim.metric("remora_peer_strikes_total") > 0
            named = [e for e in victim.logs() if hostile.node in str(e) or hostile.address in str(e)]
            assert named, "the liar is not in the log"
        elif lie is Lie.FALSE_LIST:
            assert banned <= {hostile.node}
        else:
            assert banned == set()
            assert refused == 0


def test_who_claims_everything_and_sends_nothing_does_not_have_all_go_to_the_origin(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    """The tracker takes their word for it until the nodes name them; then one node reads it for all."""
    image = gallery[TAG]
    (layer,) = (b for b in image.blobs if b.diff_id)
    files = {layer.digest: layer.path}
    with (
        Tracker(directory) as tracker,
        HostilePeer(files, Lie.STALL, name="mute", tracker=tracker.url) as mute,
        HostilePeer(files, Lie.STALL, name="dumb", tracker=tracker.url) as dumb,
        swarm(
            directory,
            ("one", "two", "three"),
            upstreams={UPSTREAM: origin.address},
            tracker=tracker.url,
        ) as nodes,
        ThreadPoolExecutor(len(nodes)) as pool,
    ):
        origin.traffic()

        pulls = [pool.submit(pull_image, node.registry, REPOSITORY, TAG) for node in nodes]

        assert [pull.result() for pull in pulls] == [image.digest] * len(nodes)
        assert mute.requests
        assert dumb.requests
        assert origin.traffic().egress(layer.digest) <= 1.02 * layer.size


def test_a_liar_is_banned_and_named(directory: Path, origin: DockerRegistry, gallery: Gallery) -> None:
    """The first strike disconnects, the second, with the next blob, bans; log and metrics say whom."""
    image = gallery["single"]
    layers = [b for b in image.blobs if b.diff_id]
    with (
        HostilePeer({b.digest: b.path for b in layers}, Lie.WRONG_BYTES) as hostile,
        Node("victim", directory, upstreams={UPSTREAM: origin.address}, peers=[hostile.address]) as victim,
    ):
        for blob in layers:
            pull_blob(victim.registry, REPOSITORY, blob.digest)  # every byte is right

        banned = {labels["node"] for name, labels, value in victim.metrics() if "banned" in name and value}
        assert banned == {hostile.node}
        (entry,) = [e for e in victim.logs() if e["event"] == "peer banned for an hour"]
        assert (entry["node"], entry["address"]) == (hostile.node, hostile.address)
        asked = hostile.requests
        assert pull_image(victim.registry, REPOSITORY, "medium") == gallery["medium"].digest
        assert hostile.requests == asked
