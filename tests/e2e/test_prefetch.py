"""``remora prefetch`` to six nodes, one dead and one killed midway: the report tells the truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.clients import Dockerd
from tests.support.images import MIB
from tests.support.nodes import REMORA, Tracker, remora, swarm
from tests.support.processes import Process, wait_until
from tests.support.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry_origin import DockerRegistry

IMAGES = [f"{UPSTREAM}/app:medium", f"{UPSTREAM}/app:many"]
EXIT_FULL, EXIT_PARTIAL, EXIT_NONE = 0, 3, 4


def test_prefetch_with_one_dead_and_one_killed_node(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    nodes_named = [f"node-{n}" for n in range(6)]
    with (
        Tracker(directory) as tracker,
        Throttle(origin.address, rate=60 * MIB) as slow,
        swarm(directory, nodes_named, upstreams={UPSTREAM: slow.address}, tracker=tracker.url) as nodes,
    ):
        *alive, victim, dead = nodes
        dead.kill()
        options = [*("--tracker", tracker.url), *(o for n in nodes_named for o in ("--nodes", n))]
        command = Process("prefetch", [*REMORA, "prefetch", *IMAGES, *options, "--json"], directory)
        command.launch()
        wait_until("the victim's first bytes", lambda: victim.received() > 16 * MIB)
        victim.kill()
        slow.rate = 0

        code = command.wait(90)

        report = json.loads(command.output())
        states = {(row["name"], row["image"].partition("@")[0]): row["state"] for row in report["rows"]}
        assert (code, report["result"]) == (EXIT_PARTIAL, "partial"), command.tail()
        for node in alive:
            for image in IMAGES:
                assert states[node.name, image] == "done", states
        assert {state for (name, _), state in states.items() if name == victim.name} <= {"lost", "done"}
        assert "lost" in states.values(), states
        gone = [row for row in report["rows"] if row["name"] == dead.name or row["node"] == dead.name]
        assert gone, report
        assert {row["state"] for row in gone} <= {"unknown", "lost"}, gone

        # The table that people see says the same, and now that all named are alive, so does the code.
        shown = remora("prefetch", *IMAGES, "--tracker", tracker.url, "--nodes", "node-[0-3]")
        assert shown.returncode == EXIT_FULL
        assert "8 done" in shown.stdout, shown.stdout
        nobody = remora("prefetch", *IMAGES, *options[:2], "--nodes", "node-9", check=False)
        assert nobody.returncode == EXIT_NONE
        assert "node-9" in nobody.stdout + nobody.stderr

        # What was prefetched is served: the origin is asked for nothing but the tag.
        origin.traffic()
        node = alive[-1]
        with Dockerd(directory, name="dockerd-prefetch") as dockerd:
            for tag in ("medium", "many"):
                pulled = dockerd.pull(f"localhost:{node.port}/{UPSTREAM}/app:{tag}")
                assert pulled == gallery[tag].digest
        asked = origin.traffic().content
        assert {(r.method, r.path.rpartition("/")[2]) for r in asked} <= {
            ("HEAD", "medium"),
            ("HEAD", "many"),
        }, asked


def test_prefetch_of_an_image_that_is_not_there(directory: Path, origin: DockerRegistry) -> None:
    with (
        Tracker(directory) as tracker,
        swarm(directory, ["node-0"], upstreams={UPSTREAM: origin.address}, tracker=tracker.url),
    ):
        done = remora(
            *("prefetch", f"{UPSTREAM}/app:nonesuch", "--tracker", tracker.url, "--json"), check=False
        )

        (row,) = json.loads(done.stdout)["rows"]
        assert done.returncode == EXIT_NONE
        assert row["state"] == "failed"
        assert "nonesuch" in row["detail"], row


def test_prefetch_without_a_tracker_says_so() -> None:
    done = remora("prefetch", IMAGES[0], "--tracker", "ws://127.0.0.1:1", check=False)

    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
