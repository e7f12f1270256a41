from __future__ import annotations

from p2p.discovery.dht.statistics import BOUNDS, DhtStatistics
from p2p.node.dht_metrics import dht_metrics


def test_every_figure_is_told() -> None:
    names = [
        name
        for name in DhtStatistics.__struct_fields__
        if name not in ("lookup_seconds", "lookup_classes", "dropped")
    ]
    counts = {name: 1000 + number for number, name in enumerate(names)}
    classes = tuple(range(len(BOUNDS) + 1))
    now = DhtStatistics(**counts, lookup_seconds=5.5, lookup_classes=classes, dropped={"forged": 77})
    samples = [sample for family in dht_metrics(now) for sample in family.samples]
    values = [sample.value for sample in samples]
    assert sum(classes) in values
    for value in (*counts.values(), 5.5, 77):
        assert values.count(value) == 1, value
    assert all(sample.name.startswith("remora_dht_") for sample in samples)
