"""Front ends on one PostgreSQL and one content: whichever is left has all that was acknowledged.

``REMORA_FRONT_ENDS`` is how many there are in the last test, ``REMORA_CRASHES`` how often one of them dies,
``REMORA_CRASH_SEED`` where chance begins.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from p2p.metadata.sql import open_metadata
from tests.e2e.test_push_crash import Client, Desk, digest_of
from tests.shell.registry.test_races import BOTH, Race, SlowContent, noted
from tests.support.clients import skopeo_push
from tests.support.images import OciLayout, small_layers
from tests.support.moto_server import KEYS, S3Server
from tests.support.nodes import Node, Tracker, get, pull_image, swarm
from tests.support.postgres import Postgres
from tests.support.processes import wait_until
from tests.support.push_rig import Push

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NAME = "team/app"
FRONT_ENDS = int(os.environ.get("REMORA_FRONT_ENDS", "10"))
CRASHES = int(os.environ.get("REMORA_CRASHES", "3"))
SEED = int(os.environ.get("REMORA_CRASH_SEED", "1"))
IMAGES = 40
"""Acknowledged pushes after which it is over."""


@pytest.fixture
def database(directory: Path) -> Iterator[Postgres]:
    with Postgres(directory) as server:
        yield server


@contextmanager
def content(kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[str]]:
    """The options of a node that keeps pushes there."""
    if kind == "file":
        shared = directory / "shared"
        shared.mkdir()
        yield ("--content", f"file://{shared}")
        return
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with S3Server(directory) as server:
        monkeypatch.setenv("REMORA_HOSTING__CONTENT_OPTIONS", ",".join(server.options))
        yield ("--content", f"{server.make_bucket('content')}/registry")


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_one_goes_on_where_the_other_is_gone(
    directory: Path, database: Postgres, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = OciLayout(directory / "layout")
    first = layout.image(small_layers(layout, 4, 1_500_000, seed=1), tag="1")
    second = layout.image(small_layers(layout, 2, 300_000, seed=9), tag="2")
    third = layout.image([layout.layer("large", 20_000_000, seed=11)], tag="3")
    with content(kind, directory, monkeypatch) as shared:
        options = ("--hosted", "team/**", "--metadata", database.url(), *shared)
        with (
            Node("left", directory, options=options) as left,
            Node("right", directory, options=options) as right,
        ):
            for tag in ("1", "3"):
                skopeo_push(layout.root, tag, f"{left.registry}/{NAME}:{tag}")
            # At once, and from nobody but the content: they know no peers.
            assert pull_image(right.registry, NAME, "1") == first.digest
            assert right.received("origin") >= 6_000_000

            left.kill()
            shutil.rmtree(left.state)
            assert pull_image(right.registry, NAME, "3") == third.digest
            skopeo_push(layout.root, "2", f"{right.registry}/{NAME}:2")
            assert get(right.registry, f"/v2/{NAME}/manifests/1", method="DELETE").status == 202

            # It comes back with nothing, and has all.
            left.start()
            assert pull_image(left.registry, NAME, "2") == second.digest
            assert pull_image(left.registry, NAME, "3") == third.digest
            assert get(left.registry, f"/v2/{NAME}/manifests/1").status == 404
            assert left.received("peers") == 0


def test_the_content_is_read_once_for_the_cluster(
    directory: Path, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = OciLayout(directory / "layout")
    image = layout.image([layout.layer("large", 40_000_000, seed=1)], tag="1")
    with content("file", directory, monkeypatch) as shared, Tracker(directory) as tracker:
        options = ("--hosted", "team/**", "--metadata", database.url(), *shared)
        with Node("first", directory, options=options) as first:
            skopeo_push(layout.root, "1", f"{first.registry}/{NAME}:1")
        names = ("a", "b", "c")
        with swarm(directory, names, upstreams={}, tracker=tracker.url, options=options) as nodes:
            for node in nodes:
                node.wait_for(
                    "the tracker", lambda n=node: n.metric("remora_discovery_connected", route="tracker")
                )
            with ThreadPoolExecutor(len(nodes)) as pool:
                pulled = list(pool.map(lambda node: pull_image(node.registry, NAME, "1"), nodes))
            assert pulled == [image.digest] * len(nodes)
            assert sum(node.received("origin") for node in nodes) < 41_000_000
            assert sum(node.received("peers") for node in nodes) >= 80_000_000


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_what_is_wrong_with_the_content_is_said_at_the_start(
    directory: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with content(kind, directory, monkeypatch) as (flag, _):
        url = "s3://no-such-bucket/x" if kind == "s3" else f"file://{directory}/none"
        bad = Node("bad", directory, options=("--hosted", "team/**", flag, url))
        bad.launch()
        assert bad.wait() == 1
        said = bad.errors()
        assert url in said
        assert ("no such bucket" if kind == "s3" else "No such file") in said
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in said


def test_one_that_was_stopped_while_it_deleted(
    directory: Path, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has claimed a manifest, and is stopped; it loses the lock, the image is pushed again, it goes on."""
    layout = OciLayout(directory / "layout")
    image = layout.image(small_layers(layout, 2, 100_000, seed=1), tag="1")
    config = directory / "hosting.toml"
    config.write_text('[hosting]\nrepositories = ["team/**"]\ncollect_interval = "1s"\n')
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with S3Server(directory) as server:
        monkeypatch.setenv("REMORA_HOSTING__CONTENT_OPTIONS", ",".join(server.options))
        url = server.make_bucket("content")
        options = ("--config", str(config), "--metadata", database.url(), "--content", url)
        with Node("left", directory, options=options) as left:
            skopeo_push(layout.root, "1", f"{left.registry}/{NAME}:1")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                path = f"/v2/{NAME}/manifests/{image.digest}"
                assert get(left.registry, path, method="DELETE").status == 202
                claimed = f"SELECT location FROM blob WHERE state = 1 AND digest = '{image.digest}'"
                ((place,),) = wait_until("the claim", lambda: database.execute(claimed))
                os.kill(left.pid, signal.SIGSTOP)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            try:
                sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                assert database.execute(f"{sessions} WHERE application_name = 'remora'")
                with Node("right", directory, options=options) as right:
                    skopeo_push(layout.root, "1", f"{right.registry}/{NAME}:1")
                    assert pull_image(right.registry, NAME, "1") == image.digest
                    os.kill(left.pid, signal.SIGCONT)
                    # Its deletion comes to its end, whether its row is still there or not.
                    left.wait_for("its collection", lambda: answers(left, place))
                    for node in (left, right):
                        assert pull_image(node.registry, NAME, "1") == image.digest
                    row = f"SELECT state, location FROM blob WHERE digest = '{image.digest}'"
                    ((state, now_at),) = database.execute(row)
                    assert state == 0
                    assert now_at != place
            finally:
                os.kill(left.pid, signal.SIGCONT)


def answers(node: Node, place: object) -> bool:
    """Whether a node has ended the deletion that it was stopped in."""
    assert place
    return node.metric("remora_collected_blobs_total") >= 1 or any(
        line.get("event") == "collection failed" for line in node.logs()
    )


@dataclass
class AnyDesk:
    """A client's own desk: the front end that it pushes to now is any that is up."""

    desk: Desk
    nodes: Sequence[Node]
    up: list[threading.Event]


class AnyClient(Client):
    """Pushes each image to one of the front ends, and remembers which of them acknowledged it."""

    def __init__(self, any_desk: AnyDesk, number: int, chance: random.Random) -> None:
        super().__init__(any_desk.desk, number)
        self._any = any_desk
        self._chance = chance
        self._turn = 0
        self.pushed: dict[tuple[str, str], int] = {}

    def run_at(self, turn: int) -> None:
        """Push one image."""
        number = self._chance.randrange(len(self._any.nodes))
        if not self._any.up[number].wait(30):
            raise AssertionError("a front end did not come back")
        tag = f"c{self._number}-{turn}"
        self._turn = turn
        if turn % 2 == 0:
            self._random = random.Random(turn)
        self.push_to(self._any.nodes[number].registry, tag)
        with self._desk.lock:
            self.pushed |= {key: number for key in self._desk.images if key[1] == tag}

    def config(self, tag: str) -> bytes:
        """Every other image is the same for all clients, who push it at about the same time."""
        return super().config(f"all-{self._turn}" if self._turn % 2 == 0 else tag)


@pytest.mark.timeout(300)
def test_many_front_ends_and_what_any_of_them_acknowledged(
    directory: Path, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(SEED)
    with content("file", directory, monkeypatch) as shared, ExitStack() as stack:
        options = ("--hosted", "team/**", "--metadata", database.url(), *shared)
        nodes = [Node(f"n{number}", directory, options=options) for number in range(FRONT_ENDS)]
        for node in nodes:
            stack.callback(node.stop)
            node.launch()
        for node in nodes:
            node.wait_ready()
        desk = Desk(nodes[0])
        any_desk = AnyDesk(desk, nodes, [threading.Event() for _ in nodes])
        for up in any_desk.up:
            up.set()
        clients = [AnyClient(any_desk, number, random.Random(SEED + number)) for number in range(10)]

        def push(client: AnyClient) -> None:
            turn = 0
            while not desk.over.is_set():
                client.run_at(turn)
                turn += 1

        with ThreadPoolExecutor(len(clients)) as pool:
            done = [pool.submit(push, client) for client in clients]
            try:
                for number in range(CRASHES):
                    wanted = (number + 1) * IMAGES // (CRASHES + 1)
                    wait_until("pushes", lambda n=wanted: len(desk.images) >= n, timeout=120)
                    moment = time.perf_counter() + chance.random() / 2
                    wait_until("a moment", lambda at=moment: time.perf_counter() >= at)
                    victim = chance.randrange(FRONT_ENDS)
                    any_desk.up[victim].clear()
                    nodes[victim].kill()
                    if number % 2:
                        shutil.rmtree(nodes[victim].state)
                    nodes[victim].start()
                    any_desk.up[victim].set()
                wait_until("pushes", lambda: len(desk.images) >= IMAGES, timeout=120)
            finally:
                desk.over.set()
            for each in done:
                each.result()
        pushed = {key: number for client in clients for key, number in client.pushed.items()}
        assert pushed.keys() == desk.images.keys()
        with ThreadPoolExecutor(4) as pool:
            pulls = [
                pool.submit(
                    pull, nodes[(number + 1 + chance.randrange(FRONT_ENDS - 1)) % FRONT_ENDS], key, body
                )
                for (key, number), body in zip(pushed.items(), map(desk.images.get, pushed), strict=True)
            ]
            for each in pulls:
                each.result()


def pull(node: Node, key: tuple[str, str], body: bytes | None) -> None:
    """Pull an image whole and compare it."""
    assert body is not None
    name, tag = key
    assert get(node.registry, f"/v2/{name}/manifests/{tag}").body == body
    assert pull_image(node.registry, name, tag) == digest_of(body)


RACES = int(os.environ.get("REMORA_RACES", "3"))
RACES_SEED = int(os.environ.get("REMORA_RACES_SEED", "1"))


async def both_collect() -> bool:
    """What a front end believes that has lost the lock and does not know it yet."""
    return True


@pytest.mark.timeout(120 + 20 * RACES)
async def test_everything_at_once_at_two_front_ends(
    tmp_path: Path, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the races in memory, each front end with connections of its own; and both collect."""
    for seed in range(RACES_SEED, RACES_SEED + RACES):
        url = database.make("races")
        shared = SlowContent(seed)
        async with open_metadata(tmp_path, url) as one, open_metadata(tmp_path, url) as other:
            for metadata in (one, other):
                monkeypatch.setattr(metadata, "collects", both_collect)
            pushes = [Push(hosting=metadata, content=shared) for metadata in (one, other)]
            for push in pushes:
                assert push.sharing is not None
                push.sharing._now = lambda: datetime.now(UTC) + 9 * BOTH
            await noted(Race(seed, *pushes, content=shared), seed)
