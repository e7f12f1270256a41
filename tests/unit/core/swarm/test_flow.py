from __future__ import annotations

from p2p.core.swarm.flow import SPAN, Flow


def test_nothing_is_known_before_the_first_span() -> None:
    flow = Flow()
    flow.add(1000, 5.0)
    flow.add(1000, 5.0 + SPAN / 2)
    assert flow.rate == 0


def test_a_steady_stream_is_its_rate_and_a_change_is_followed() -> None:
    flow = Flow()
    for step in range(40):
        flow.add(100, step * SPAN / 4)
    assert abs(flow.rate - 400 / SPAN) / flow.rate < 0.1
    before = flow.rate
    for step in range(40, 80):
        flow.add(300, step * SPAN / 4)
    assert abs(flow.rate - 3 * before) / flow.rate < 0.1
