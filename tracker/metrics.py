"""Prometheus metrics, read from the machine when they are asked for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from tracker.hub import Hub

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "messages": "Messages received from nodes and commands",
    "plans": "Plans sent",
    "renewals": "Plans left as they were",
    "leases_granted": "Leases granted",
    "leases_stolen": "Leases taken from a holder without progress",
    "leases_failed": "Leases given back because the origin failed",
    "leases_adopted": "Leases of an earlier connection or tracker taken over",
    "refused": "Connections refused",
    "jobs": "Prefetch jobs begun",
}


class _HubCollector(Collector):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        machine = self._hub.machine
        table = machine.table
        connected = sum(node.conn is not None for node in table.nodes.values())
        nodes = GaugeMetricFamily("remora_tracker_nodes", "Nodes remembered", labels=["state"])
        nodes.add_metric(["connected"], connected)
        nodes.add_metric(["gone"], len(table.nodes) - connected)
        yield nodes
        for name, text, value in (
            ("connections", "Connections of nodes and commands", machine.connections),
            ("blobs", "Digests that somebody has or wants", len(table.blobs)),
            (
                "holdings",
                "Blobs of nodes, whole or in part",
                sum(len(n.holdings) for n in table.nodes.values()),
            ),
            ("leases", "Leases held", len(machine.leases)),
            ("jobs_open", "Prefetch jobs under way", len(machine.jobs)),
            ("references", "Tags remembered", len(machine.references)),
        ):
            yield GaugeMetricFamily(f"remora_tracker_{name}", text, value=value)
        for name, value in asdict(machine.counters).items():
            yield CounterMetricFamily(f"remora_tracker_{name}", _HELP[name], value=value)
        for name, text, value in (
            ("tags_leased", "Nodes let to an origin for a tag", machine.references.leased),
            (
                "tags_shared",
                "Answers of origins for tags that other nodes were told",
                machine.references.shared,
            ),
        ):
            yield CounterMetricFamily(f"remora_tracker_{name}", text, value=value)
        yield CounterMetricFamily(
            "remora_tracker_holdings_dropped", "Holdings above a node's cap", value=table.dropped
        )
        yield CounterMetricFamily(
            "remora_tracker_slow_connections", "Connections cut for slow reading", value=self._hub.slow
        )


class Metrics:
    """The metrics of one hub; ``render`` gives the text format."""

    def __init__(self, hub: Hub) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_HubCollector(hub))

    def render(self) -> bytes:
        """Write all metrics in the Prometheus text format."""
        return generate_latest(self._registry)
