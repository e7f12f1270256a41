"""Families of metrics with our prefix, from values by their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.metrics_core import Metric


def counter(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    """Make a counter; ``_total`` is added to its name."""
    family = CounterMetricFamily(f"remora_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    """Make a gauge."""
    family = GaugeMetricFamily(f"remora_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def histogram(name: str, text: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    """Make a histogram; ``counts``: one for each of ``bounds``, not summed up, and one for what is beyond."""
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        below += count
        buckets.append((bound, below))
    family = HistogramMetricFamily(f"remora_{name}", text)
    family.add_metric((), buckets, total)
    return family
