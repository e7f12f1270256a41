"""The core draws from the source that it is handed, and from nothing else."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.swarm_net import Blob, Net

if TYPE_CHECKING:
    from p2p.core.swarm.rng import Rng


class Recorder(Net):
    """A network that notes every action of every node."""

    def __init__(self, *args: object, **kw: object) -> None:
        self.log: list[str] = []
        super().__init__(*args, **kw)

    def perform(self, node: object, actions: list[object]) -> None:
        self.log += [f"{self.now:.6f} {node.name} {action}" for action in actions]  # type: ignore[attr-defined]
        super().perform(node, actions)


def course(seed: int) -> list[str]:
    blob = Blob(20)
    net = Recorder(blob, seed, rate=5.0)
    net.seed("liar", chunks=[b"evil" + chunk for chunk in blob.chunks])
    net.seed("mute", mute=True)
    net.seed("s0")
    for i in range(3):
        net.add(f"n{i}", foreground=False)
    net.run()
    return net.log


def test_random_fits() -> None:
    source: Rng = random.Random(1)
    assert 0 <= source.random() < 1
    assert source.randrange(3) in (0, 1, 2)


def test_the_same_seed_and_events_give_the_same_actions() -> None:
    assert course(7) == course(7)


def test_another_seed_gives_another_course() -> None:
    assert course(7) != course(8)


def test_hash_randomisation_changes_nothing() -> None:
    """Nothing depends on the order of a set of strings."""
    program = (
        "import sys, hashlib; sys.path.insert(0, '.');"
        "from tests.unit.core.swarm.test_rng import course;"
        "print(hashlib.sha256('\\n'.join(course(3)).encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1


def test_only_the_given_source_is_drawn_from() -> None:
    """The global source's state is untouched by a whole course."""
    before = random.getstate()
    course(5)
    assert random.getstate() == before
