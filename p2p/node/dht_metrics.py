"""The DHT's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.discovery.dht.statistics import BOUNDS
from p2p.node.families import counter, gauge, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from p2p.discovery.dht.statistics import DhtStatistics


def dht_metrics(now: DhtStatistics) -> Iterator[Metric]:
    """Give them for these figures."""
    yield gauge("dht_contacts", "Nodes in the routing table.", {(): now.contacts})
    yield gauge("dht_records", "Provider records kept for others.", {(): now.records})
    yield gauge("dht_provided", "Complete blobs that are provided.", {(): now.provided})
    yield counter(
        "dht_lookups",
        "Lookups for providers, by whether any was found.",
        {("found",): now.found, ("missed",): now.missed},
        "outcome",
    )
    yield histogram(
        "dht_lookup_seconds", "How long they took.", BOUNDS, now.lookup_classes, now.lookup_seconds
    )
    yield gauge(
        "dht_lookups_open",
        "Lookups that run, and that wait for their turn.",
        {("running",): now.lookups_running, ("waiting",): now.lookups_waiting},
        "state",
    )
    yield counter(
        "dht_puts",
        "Records of this node, by whether enough other nodes took them.",
        {("stored",): now.stored, ("failed",): now.unstored},
        "outcome",
    )
    yield counter(
        "dht_datagrams",
        "Datagrams that came, went, and would not go.",
        {("received",): now.received, ("sent",): now.sent, ("unsent",): now.unsent},
        "way",
    )
    yield counter(
        "dht_dropped_datagrams",
        "Datagrams that got neither attention nor answer.",
        {(reason,): count for reason, count in sorted(now.dropped.items())},
        "reason",
    )
    yield counter("dht_challenges", "Requests from addresses not proven yet.", {(): now.challenged})
    yield counter("dht_refused_records", "Records of others that were not taken.", {(): now.refused})
    yield counter("dht_unanswered", "Requests that were given up.", {(): now.unanswered})
    yield counter("dht_evicted_contacts", "Contacts dropped for not answering.", {(): now.evicted})
