from __future__ import annotations

import msgspec

from p2p.discovery.dht.statistics import BOUNDS, DhtStatistics


def test_it_can_be_told_as_json() -> None:
    counts = {
        name: 0
        for name in DhtStatistics.__struct_fields__
        if name not in ("lookup_seconds", "lookup_classes", "dropped")
    }
    classes = (0,) * (len(BOUNDS) + 1)
    figures = DhtStatistics(**counts, lookup_seconds=0.5, lookup_classes=classes, dropped={"short": 2})
    assert msgspec.json.decode(msgspec.json.encode(figures), type=DhtStatistics) == figures
    assert list(BOUNDS) == sorted(BOUNDS)
