"""An image's blobs are pulled at once, over links that all of them share."""

from __future__ import annotations

import math

import pytest

from p2p.core.swarm.chunks import MIB
from p2p.sim.scenario import Scenario
from p2p.sim.several import run_together
from p2p.sim.world import run

ONE = Scenario("layer", 16, size=24 * MIB, up=12.5e6, down=12.5e6, origin_rate=125e6, slots=64)


def test_one_blob_is_the_run_of_old() -> None:
    (together,), alone = run_together([ONE]), run(ONE)
    assert (together.digest, together.makespan) == (alone.digest, alone.makespan)


def test_the_blobs_of_an_image_together_take_as_long_as_one_of_their_size() -> None:
    layers = [ONE.but(size=size * MIB, seed=seed) for seed, size in enumerate((64, 32, 24), 1)]
    results = run_together(layers)
    assert [one.completed for one in results] == [16] * 3
    total = sum(one.size for one in layers)
    assert results[0].copies * layers[0].size == pytest.approx(total), (
        "each byte is read from the origin once"
    )
    bound = (total + math.log2(16) * MIB) / ONE.up
    assert max(one.makespan for one in results) <= 1.25 * bound


def test_small_layers_at_once_are_not_asked_for_twice() -> None:
    layers = [ONE.but(size=8 * MIB, seed=seed, slots=4) for seed in range(1, 13)]
    results = run_together(layers)
    assert [one.completed for one in results] == [16] * 12
    total = sum(one.size for one in layers)
    assert results[0].copies * layers[0].size == pytest.approx(total)
    assert max(one.makespan for one in results) <= 1.3 * total / ONE.up, "1.7 where each learns by itself"
