from __future__ import annotations

import random

from p2p.core.oci.digest import Digest
from p2p.discovery.api import Discovery, KnownReference, Leases, References
from p2p.discovery.composite import Routes
from p2p.discovery.static import StaticPeers
from p2p.discovery.tracker_client import Identity, TrackerClient


def members(protocol):
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_every_way_has_the_whole_face():
    identity = Identity("0" * 32, "a", "", 5001)
    client = TrackerClient("ws://h:1", identity, rng=random.Random(1))
    static = StaticPeers()
    routes = Routes("0" * 32, static=static, tracker=client, rng=random.Random(1))
    for way in (client, static, routes):
        assert all(hasattr(way, name) for name in members(Discovery))
    for way in (client, routes):
        assert all(hasattr(way, name) for name in members(Leases) | members(References))


def test_known_references_are_values():
    digest = Digest.of(b"")
    assert KnownReference(digest, "m", 1, 0.0) == KnownReference(digest, "m", 1, 0.0)
