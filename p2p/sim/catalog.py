"""The scenarios of the report (docs/simulation.md), by group."""

from __future__ import annotations

from p2p.config import LimitSettings
from p2p.core.swarm.chunks import MIB
from p2p.sim.scenario import SMALL, Scenario

SIZES = (100, 1000, 10_000)
HOSTILE_SEEDS = 500
LIARS_SIZE = 256 * MIB
"""64 chunks of 4 MiB."""

CROWD = Scenario("flash crowd", 100)
ALONE = CROWD.but(name="without tracker", tracker=False, known=30, exchange=True)
DHT = CROWD.but(name="without tracker, DHT", tracker=False, dht=True, exchange=True)
SEEDER = CROWD.but(name="one seeder", seeders=1, origin_down=((0.0, 1e9),))
LIMIT = 2_500_000
"""A fifth of a link of 100 Mbit/s."""

LIMITED = Scenario("limits", 16, size=SMALL, up=5 * LIMIT, down=5 * LIMIT, origin_rate=5 * LIMIT)
PLAIN = CROWD.but(
    name="plain, 30 neighbours",
    tracker=False,
    known=30,
    seeders=1,
    rules="plain",
    origin_down=((0.0, 1e9),),
)


def _sized(scenario: Scenario, most: int) -> list[Scenario]:
    return [scenario.but(nodes=size) for size in SIZES if size <= most]


def groups(most: int, hostile_seeds: int) -> dict[str, list[Scenario]]:
    """Give all scenarios with at most ``most`` nodes, those with liars with so many seeds."""
    honest = Scenario("honest", 21, size=LIARS_SIZE, seeders=1, origin_down=((0.0, 1e9),), limit=300.0)
    seeds = range(1, hostile_seeds + 1)
    return {
        "crowd": _sized(CROWD, most),
        "streaming": _sized(CROWD.but(name="streaming clients", streaming=True), min(most, 1000)),
        "alone": [*_sized(ALONE, min(most, 1000)), *_sized(DHT, min(most, 1000))],
        "seeder": [
            SEEDER.but(name=f"one seeder, {chunks} chunks", nodes=size, size=chunks * 4 * MIB)
            for chunks in (64, 256)
            for size in (20, 100)
            if size <= most
        ],
        "limits": [
            LIMITED.but(name=f"limits.{limit}", limits=LimitSettings(**{limit: LIMIT}))
            for limit in ("up", "down", "origin", "prefetch")
        ],
        "baselines": [
            one
            for base in (
                PLAIN,
                PLAIN.but(name="plain, 10 neighbours", known=10),
                PLAIN.but(name="in order, 30 neighbours", rules="in-order"),
            )
            for one in _sized(base, min(most, 100))
        ],
        "honest": [honest.but(seed=seed) for seed in seeds],
        "hostile": [honest.but(name="30 % hostile", hostile=0.43, seed=seed) for seed in seeds],
        "besieged": [
            honest.but(name="90 % hostile", nodes=5, hostile=9.0, seed=seed)
            for seed in range(1, max(2, hostile_seeds // 10))
        ],
        "unseeded": [
            Scenario("liars, an origin", 18, size=256 * MIB, hostile=0.28, limit=300.0),
            Scenario("liars, slow ones, an origin", 21, size=256 * MIB, hostile=0.43, limit=300.0),
        ],
        "faults": [
            CROWD.but(name="tracker dies", known=30, exchange=True, tracker_down=((3.0, 1e9),)),
            CROWD.but(name="tracker dies, DHT", dht=True, exchange=True, tracker_down=((3.0, 1e9),)),
            CROWD.but(name="a fifth of the nodes dies", churn=0.2, churn_span=8.0),
            CROWD.but(name="loss of 1 %", loss=0.01, latency=0.005),
            CROWD.but(name="two zones, thin uplink", zones=2, zone_rate=12.5e6, far=0.01),
        ],
    }
