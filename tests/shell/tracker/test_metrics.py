from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tracker.core import Counters, Tracker
from tracker.hub import Hub
from tracker.metrics import Metrics


async def test_all_counters_are_there():
    hub = Hub(Tracker(0.0))
    hub.machine.counters.plans = 7
    families = {
        family.name: family for family in text_string_to_metric_families(Metrics(hub).render().decode())
    }
    for name in Counters.__dataclass_fields__:
        assert f"remora_tracker_{name}" in families
    assert families["remora_tracker_plans"].samples[0].value == 7
    assert families["remora_tracker_nodes"].samples[0].labels == {"state": "connected"}
