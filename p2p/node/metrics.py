"""Prometheus metrics, read from the parts' own statistics when they are scraped: nothing is counted twice.

Names begin with ``remora_`` and hold their unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from p2p.node.dht_metrics import dht_metrics
from p2p.node.families import counter, gauge

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from p2p.discovery.dht.statistics import DhtStatistics
    from p2p.net.roster import ServerStatistics
    from p2p.notifications.api import SinkStatistics
    from p2p.registry.api import RequestStatistics
    from p2p.registry.intake import CollectionStatistics
    from p2p.store.api import StoreStatistics
    from p2p.store.scrubber import ScrubStatistics
    from p2p.transfer.api import TransferStatistics

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Content-Type of what ``Metrics.render`` gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Where the figures come from; each is called once a scrape, on the trio loop, and must not block.

    ``discovery`` gives each way of finding providers by its name, and whether it is connected; ``uploads``
    those under way, ``sinks`` those of notifications by name, ``lost`` the events that could not be noted.
    """

    transfer: Callable[[], TransferStatistics]
    store: Callable[[], StoreStatistics]
    requests: Callable[[], RequestStatistics]
    discovery: Callable[[], Mapping[str, bool]]
    collection: Callable[[], CollectionStatistics]
    uploads: Callable[[], int]
    sinks: Callable[[], Mapping[str, SinkStatistics]]
    lost: Callable[[], int]
    scrub: Callable[[], ScrubStatistics]
    confined: Callable[[], int] = lambda: 0
    """Digests that only private repositories reach."""
    dht: Callable[[], DhtStatistics | None] = lambda: None
    """None: it does not run."""
    servers: Callable[[], Mapping[str, ServerStatistics]] = field(default=dict)
    """Each listener by its name."""


class NodeCollector(Collector):
    """Turns the readings into metrics."""

    def __init__(self, readings: Readings, *, node: str, version: str) -> None:
        self._readings = readings
        self._node = node
        self._version = version

    def describe(self) -> Iterator[Metric]:
        """Name nothing in advance, so that registering it reads nothing."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        yield gauge("build_info", "What runs here.", {(self._version, self._node): 1}, "version", "node")
        transfer, requests = self._readings.transfer(), self._readings.requests()
        yield counter(
            "sent_bytes",
            "Bytes of content sent, by whom they went to.",
            {("peers",): transfer.sent_peers, ("clients",): requests.sent},
            "to",
        )
        yield from _transfer(transfer)
        yield from _requests(requests)
        yield from _private(transfer, requests, self._readings.confined())
        yield from _store(self._readings.store())
        yield from _collection(self._readings.collection())
        yield gauge("uploads", "Uploads begun and not ended.", {(): self._readings.uploads()})
        yield from _notifications(self._readings.sinks(), self._readings.lost())
        yield from _scrub(self._readings.scrub())
        yield from _servers(self._readings.servers())
        if (dht := self._readings.dht()) is not None:
            yield from dht_metrics(dht)
        yield gauge(
            "discovery_connected",
            "Whether a way of finding providers can answer now.",
            {(name,): connected for name, connected in self._readings.discovery().items()},
            "route",
        )


class Metrics:
    """A registry of our own, with the process's figures (CPU seconds, resident bytes, descriptors)."""

    def __init__(self, readings: Readings, *, node: str, version: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(NodeCollector(readings, node=node, version=version))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Give the text format, version 0.0.4."""
        return generate_latest(self._registry)


def _transfer(now: TransferStatistics) -> Iterator[Metric]:
    yield counter(
        "received_bytes",
        "Bytes of content received, by source.",
        {("peers",): now.received_peers, ("origin",): now.received_origin},
        "source",
    )
    yield counter("chunks_verified", "Chunks whose link held.", {(): now.chunks_verified})
    yield counter("chunks_refused", "Chunks whose link did not hold.", {(): now.chunks_refused})
    yield counter("peer_strikes", "Offences of peers.", {(): now.strikes})
    yield counter("peer_bans", "Bans of peers.", {(): now.bans})
    yield gauge(
        "banned_peer",
        "Peers banned now, and why.",
        dict.fromkeys(now.banned.items(), 1),
        "node",
        "offence",
    )
    yield counter(
        "swarms_ended",
        "Downloads that ended, by outcome.",
        {("done",): now.swarms_done, ("failed",): now.swarms_failed},
        "outcome",
    )
    yield counter("leases_taken", "Leases on the origin taken.", {(): now.leases_taken})
    yield counter("hedges", "Requests sent a second time because the first was slow.", {(): now.hedges})
    yield counter("lazy_bytes", "Bytes of small ranges that were read from origins alone.", {(): now.lazy})
    yield gauge(
        "limit_bytes_per_second",
        "Limits that are set.",
        {(one.limit,): one.rate_bytes for one in now.limits},
        "limit",
    )
    yield counter(
        "limit_waited_seconds",
        "Seconds that transfers waited for a limit, all together.",
        {(one.limit,): one.waited_seconds for one in now.limits},
        "limit",
    )
    yield gauge("swarms", "Downloads under way.", {(): now.swarms})
    yield gauge("peer_links", "Subscriptions to peers.", {(): now.links})
    yield gauge("leases_held", "Leases on the origin held now.", {(): now.leases_held})
    yield gauge("readers", "Readers of content now.", {(): now.readers})


def _store(now: StoreStatistics) -> Iterator[Metric]:
    yield gauge("store_blobs", "Complete blobs.", {(): now.blobs})
    yield gauge("store_bytes", "Bytes of complete blobs.", {(): now.blob_bytes})
    yield gauge("store_partials", "Blobs begun and not complete.", {(): now.partials})
    yield gauge("store_reserved_bytes", "Bytes reserved for blobs not complete.", {(): now.reserved_bytes})
    yield gauge("store_pinned_bytes", "Bytes of blobs that are never evicted.", {(): now.pinned_bytes})
    yield gauge("store_capacity_bytes", "The quota; 0 where there is none.", {(): now.capacity})
    yield gauge("store_free_bytes", "Bytes that the filesystem has left.", {(): now.free})
    yield counter("store_evicted_blobs", "Blobs evicted.", {(): now.evicted})
    yield counter("store_quarantined_blobs", "Blobs found corrupt and set aside.", {(): now.quarantined})
    yield gauge("store_healthy", "0 after a failed write or fsync.", {(): now.healthy})


def _collection(now: CollectionStatistics) -> Iterator[Metric]:
    yield counter("collected_blobs", "Hosted blobs that nothing referred to, deleted.", {(): now.collected})
    yield counter("collected_bytes", "Bytes of them.", {(): now.bytes})
    yield counter("shared_orphans", "Objects of no blob, removed from shared content.", {(): now.orphans})
    yield counter("shared_orphan_bytes", "Bytes of them.", {(): now.orphan_bytes})
    yield counter("shared_moved_blobs", "Blobs moved from here to shared content.", {(): now.moved})
    yield gauge("shared_missing_blobs", "Blobs that have lost their object there.", {(): now.missing})
    yield gauge("review_queue", "Hosted blobs queued for a review.", {(): now.queued})
    yield gauge("review_queue_overdue", "Those whose time had come.", {(): now.overdue})
    yield gauge("review_queue_retries", "Reviews that were put off, of those queued.", {(): now.retries})


def _notifications(sinks: Mapping[str, SinkStatistics], lost: int) -> Iterator[Metric]:
    yield gauge(
        "notifications_queued",
        "Events that a sink has not confirmed.",
        {(name,): one.queued for name, one in sinks.items()},
        "sink",
    )
    yield counter(
        "notifications_delivered",
        "Events delivered.",
        {(name,): one.delivered for name, one in sinks.items()},
        "sink",
    )
    yield counter(
        "notifications_failed",
        "Attempts to deliver that failed.",
        {(name,): one.failed for name, one in sinks.items()},
        "sink",
    )
    yield counter(
        "notifications_dropped",
        "Events dropped because the queue could not keep them.",
        {(name,): one.dropped for name, one in sinks.items()},
        "sink",
    )
    yield counter("notifications_lost", "Events that could not be queued.", {(): lost})


def _scrub(now: ScrubStatistics) -> Iterator[Metric]:
    yield counter("scrub_cycles", "Times that the whole store was hashed anew.", {(): now.cycles})
    yield counter("scrubbed_blobs", "Blobs hashed anew at rest.", {(): now.blobs})
    yield counter("scrubbed_bytes", "Bytes of them.", {(): now.bytes})
    yield counter("scrub_bad_blobs", "Those that were corrupt and put aside.", {(): now.bad})
    yield counter("scrub_failures", "Blobs that the disk refused to read or record.", {(): now.failed})


def _requests(now: RequestStatistics) -> Iterator[Metric]:
    yield counter(
        "requests",
        "Requests to the registry, by route and status.",
        {(route, str(status)): count for (route, status), count in sorted(now.requests.items())},
        "route",
        "status",
    )
    yield counter("cache_hits", "Requests for content that was complete here.", {(): now.hits})
    yield counter("cache_misses", "Requests for content that was not.", {(): now.misses})
    yield counter("stale_tags", "Tags answered without their origin.", {(): now.stale_tags})


def _private(transfer: TransferStatistics, requests: RequestStatistics, confined: int) -> Iterator[Metric]:
    yield counter(
        "private_refused",
        "Requests for private repositories without proof of access.",
        {(): requests.private_refused},
    )
    yield counter(
        "private_withheld", "Asks of peers for private content, told of nothing.", {(): transfer.withheld}
    )
    yield gauge("private_digests", "Digests that only private repositories reach.", {(): confined})


def _servers(now: Mapping[str, ServerStatistics]) -> Iterator[Metric]:
    yield gauge(
        "connections",
        "Connections open.",
        {(name,): one.connections for name, one in now.items()},
        "listener",
    )
    yield gauge(
        "connections_waiting",
        "Connections open without a request under way.",
        {(name,): one.waiting for name, one in now.items()},
        "listener",
    )
    yield counter(
        "connections_accepted",
        "Connections taken.",
        {(name,): one.accepted for name, one in now.items()},
        "listener",
    )
    yield counter(
        "connections_evicted",
        "Connections that made room for others.",
        {(name,): one.evicted for name, one in now.items()},
        "listener",
    )
