"""How long bytes take, held against sums made by hand."""

from __future__ import annotations

import random
from functools import partial

import pytest

from p2p.sim.heap import Heap
from p2p.sim.network import RETRANSMIT, Host, Network, Queue, Transfer


class Net:
    def __init__(self, **options: float) -> None:
        self.heap = Heap()
        settings = {"latency": 0.1, "slots": 4, **options}
        self.network = Network(self.heap, random.Random(1), **settings)  # type: ignore[arg-type]
        self.arrived: dict[str, float] = {}

    def host(self, up: float = 100.0, down: float = 100.0, zone: int = 0) -> Host:
        return Host(up, Queue(down), zone)

    def send(self, name: str, source: Host, target: Host, size: int = 100) -> Transfer:
        def done() -> None:
            self.arrived[name] = round(self.heap.now, 6)

        transfer = Transfer(source, target, size, done)
        self.network.send(transfer)
        return transfer

    def run(self) -> dict[str, float]:
        self.heap.run(1000.0, lambda: False)
        return self.arrived


def test_one_answer_takes_its_size_and_the_way() -> None:
    net = Net()
    net.send("a", net.host(), net.host())
    assert net.run() == {"a": 1.1}


def test_answers_share_the_link_and_the_rest_wait() -> None:
    net = Net(slots=2)
    source = net.host()
    for name in "abc":
        net.send(name, source, net.host())
    assert net.run() == {"a": 2.1, "b": 2.1, "c": 3.1}
    assert source.sent == 300


def test_a_congested_receiver_gets_one_after_the_other() -> None:
    net = Net()
    target = net.host()
    for name in "ab":
        net.send(name, net.host(), target)
    assert net.run() == {"a": 1.1, "b": 2.1}


def test_zones_share_a_thin_uplink() -> None:
    net = Net(zone_rate=50.0, far=0.5)
    for name in "ab":
        net.send(name, net.host(), net.host(zone=1))
    net.send("near", net.host(), net.host())
    assert net.run() == {"a": 2.5, "b": 4.5, "near": 1.1}
    assert net.network.uplinks[0].carried == 200


def test_a_cancelled_answer_leaves_its_share_to_the_others() -> None:
    net = Net()
    source = net.host()
    first = net.send("a", source, net.host())
    net.send("b", source, net.host())
    waiting = net.send("c", source, net.host())
    freed: list[float] = []
    source.freed = freed.append
    net.heap.at(1.0, partial(net.network.cancel, first))
    net.heap.at(1.0, partial(net.network.cancel, waiting))
    arrived = net.run()
    assert set(arrived) == {"b"}
    assert arrived["b"] == pytest.approx(1.0 + (100 - 100 / 3) / 100 + 0.1)
    assert len(freed) == 3
    assert source.askers() == 0


def test_askers_are_those_that_wait() -> None:
    net = Net(slots=1)
    source, one = net.host(), net.host()
    net.send("a", source, one)
    net.send("b", source, one)
    net.send("c", source, net.host())
    assert source.askers() == 2


def test_loss_delays() -> None:
    net = Net(loss=0.5)
    one, other = net.host(), net.host()
    times = {round(net.network.latency(one, other), 6) for _ in range(200)}
    assert {0.1, round(0.1 + RETRANSMIT, 6)} <= times
