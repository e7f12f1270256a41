"""Metrics: the parts' figures under their names and units."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from p2p.net.roster import ServerStatistics
from p2p.node.metrics import CONTENT_TYPE, Metrics, Readings
from p2p.notifications.api import SinkStatistics
from p2p.registry.api import RequestStatistics
from p2p.registry.intake import CollectionStatistics
from p2p.store.api import StoreStatistics
from p2p.store.scrubber import ScrubStatistics
from p2p.transfer.api import LimitReport, TransferStatistics

STORE = StoreStatistics(
    blobs=3,
    blob_bytes=300,
    partials=1,
    reserved_bytes=50,
    pinned_bytes=100,
    capacity=1000,
    free=700,
    evicted=2,
    quarantined=1,
    healthy=True,
)


class Parts:
    """The parts of a node, as values that the test may change."""

    def __init__(self) -> None:
        self.transfer = TransferStatistics()
        self.requests = RequestStatistics()
        self.discovery = {"tracker": True, "static": False}
        readings = Readings(
            transfer=lambda: self.transfer,
            store=lambda: STORE,
            requests=lambda: self.requests,
            discovery=lambda: self.discovery,
            collection=lambda: CollectionStatistics(7, 70, 5, 4, 3),
            uploads=lambda: 6,
            sinks=lambda: {"hook": SinkStatistics(queued=1, delivered=2, failed=3, dropped=4)},
            lost=lambda: 9,
            scrub=lambda: ScrubStatistics(cycles=1, blobs=2, bytes=3, bad=4, failed=5),
            confined=lambda: 8,
            servers=lambda: {"registry": ServerStatistics(4, 3, 20, 1, 30)},
        )
        self.metrics = Metrics(readings, node="ab12", version="1.2.3")

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        families = text_string_to_metric_families(self.metrics.render().decode())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


def test_a_scrape() -> None:
    parts = Parts()
    parts.transfer.received_peers = 10
    parts.transfer.received_origin = 20
    parts.transfer.sent_peers = 30
    parts.transfer.chunks_verified = 4
    parts.transfer.chunks_refused = 5
    parts.transfer.bans = 1
    parts.transfer.leases_held = 2
    parts.transfer.banned = {"evil": "list"}
    parts.requests.requests = Counter({("blob", 200): 7, ("manifest", 404): 1})
    parts.requests.sent = 40
    parts.requests.hits = 6
    parts.requests.misses = 2
    parts.requests.private_refused = 11
    parts.transfer.withheld = 12
    found = parts.scrape()
    expected = {
        ("remora_private_refused_total", ()): 11,
        ("remora_private_withheld_total", ()): 12,
        ("remora_private_digests", ()): 8,
        ("remora_build_info", (("node", "ab12"), ("version", "1.2.3"))): 1,
        ("remora_received_bytes_total", (("source", "peers"),)): 10,
        ("remora_received_bytes_total", (("source", "origin"),)): 20,
        ("remora_sent_bytes_total", (("to", "peers"),)): 30,
        ("remora_sent_bytes_total", (("to", "clients"),)): 40,
        ("remora_chunks_verified_total", ()): 4,
        ("remora_chunks_refused_total", ()): 5,
        ("remora_peer_bans_total", ()): 1,
        ("remora_banned_peer", (("node", "evil"), ("offence", "list"))): 1,
        ("remora_leases_held", ()): 2,
        ("remora_requests_total", (("route", "blob"), ("status", "200"))): 7,
        ("remora_requests_total", (("route", "manifest"), ("status", "404"))): 1,
        ("remora_cache_hits_total", ()): 6,
        ("remora_cache_misses_total", ()): 2,
        ("remora_store_bytes", ()): 300,
        ("remora_store_free_bytes", ()): 700,
        ("remora_store_quarantined_blobs_total", ()): 1,
        ("remora_store_healthy", ()): 1,
        ("remora_discovery_connected", (("route", "static"),)): 0,
        ("remora_discovery_connected", (("route", "tracker"),)): 1,
        ("remora_collected_blobs_total", ()): 7,
        ("remora_collected_bytes_total", ()): 70,
        ("remora_review_queue", ()): 5,
        ("remora_review_queue_overdue", ()): 4,
        ("remora_review_queue_retries", ()): 3,
        ("remora_uploads", ()): 6,
        ("remora_notifications_queued", (("sink", "hook"),)): 1,
        ("remora_notifications_delivered_total", (("sink", "hook"),)): 2,
        ("remora_notifications_failed_total", (("sink", "hook"),)): 3,
        ("remora_notifications_dropped_total", (("sink", "hook"),)): 4,
        ("remora_notifications_lost_total", ()): 9,
        ("remora_scrub_cycles_total", ()): 1,
        ("remora_scrubbed_blobs_total", ()): 2,
        ("remora_scrubbed_bytes_total", ()): 3,
        ("remora_scrub_bad_blobs_total", ()): 4,
        ("remora_scrub_failures_total", ()): 5,
        ("remora_connections", (("listener", "registry"),)): 4,
        ("remora_connections_evicted_total", (("listener", "registry"),)): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["process_resident_memory_bytes", ()] > 0


def test_figures_are_read_anew() -> None:
    parts = Parts()
    assert parts.scrape()["remora_swarms", ()] == 0
    parts.transfer = TransferStatistics(swarms=3)
    assert parts.scrape()["remora_swarms", ()] == 3


def test_a_ban_that_ended_is_gone() -> None:
    parts = Parts()
    parts.transfer.banned["evil"] = "chunk"
    assert any(name == "remora_banned_peer" for name, _ in parts.scrape())
    parts.transfer.banned.clear()
    assert not any(name == "remora_banned_peer" for name, _ in parts.scrape())


def test_hostile_labels_stay_labels() -> None:
    parts = Parts()
    evil = 'a"} 1\nremora_fake 1\\'
    parts.transfer.banned[evil] = "x"
    found = parts.scrape()
    assert ("remora_banned_peer", (("node", evil), ("offence", "x"))) in found
    assert not any(name == "remora_fake" for name, _ in found)


def test_every_name_is_ours_or_the_process() -> None:
    assert all(name.startswith(("remora_", "process_")) for name, _ in Parts().scrape())
    assert CONTENT_TYPE.startswith("text/plain")


def test_limits_that_are_set() -> None:
    parts = Parts()
    assert not any(name.startswith("remora_limit_") and labels for name, labels in parts.scrape())
    parts.transfer.limits = (LimitReport("down", 5_000_000, 1.5),)
    found = parts.scrape()
    assert found["remora_limit_bytes_per_second", (("limit", "down"),)] == 5_000_000
    assert found["remora_limit_waited_seconds_total", (("limit", "down"),)] == 1.5
