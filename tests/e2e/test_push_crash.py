"""A node that dies again and again while clients push: what it has acknowledged, it has.

``REMORA_CRASHES`` is how often it dies, ``REMORA_CRASH_SEED`` where chance begins.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from tests.support.nodes import Node, get, pull_image
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

CRASHES = int(os.environ.get("REMORA_CRASHES", "5"))
SEED = int(os.environ.get("REMORA_CRASH_SEED", "1"))
CLIENTS = 10
REPOSITORIES = ("team/a", "team/b", "team/c")
EXPIRY = 3
SHARED = tuple(random.Random(number).randbytes(200_000 * (number + 1)) for number in range(8))
"""Layers of many images, 0.2 to 1.6 MB."""

CONFIG = f"""
[hosting]
repositories = ["team/**"]
upload_expiry = "{EXPIRY}s"
"""

TYPES = {"config": OCI_CONFIG, "layer": OCI_LAYER}


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Desk:
    """What all clients share: where the node is, and what it has acknowledged."""

    node: Node
    up: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    images: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Manifests by repository and tag; no two clients push to the same tag."""
    broken: int = 0


class Client:
    """Pushes images one after the other, in all the ways that there are."""

    def __init__(self, desk: Desk, number: int) -> None:
        self._desk = desk
        self._number = number
        self._random = random.Random(SEED * 1000 + number)

    def run(self) -> None:
        """Push until it is over."""
        count = 0
        while not self._desk.over.is_set():
            if not self._desk.up.wait(0.2):
                continue
            tag = f"c{self._number}-{count}"
            count += 1
            self.push_to(self._desk.node.registry, tag)

    def push_to(self, address: str, tag: str) -> None:
        """Push one image; it is among the desk's where it was acknowledged."""
        connection = http.client.HTTPConnection(address, timeout=30)
        try:
            self._push(connection, tag)
        except (OSError, http.client.HTTPException):
            with self._desk.lock:
                self._desk.broken += 1
        finally:
            connection.close()

    def config(self, tag: str) -> bytes:
        """What makes the image one of its own."""
        return f'{{"of":"{tag}"}}'.encode()

    def _push(self, connection: http.client.HTTPConnection, tag: str) -> None:
        name = self._random.choice(REPOSITORIES)
        own = self._random.randbytes(self._random.randrange(1, 600_000))
        layers = [*self._random.sample(SHARED, 2), own]
        config = self.config(tag)
        for data in (config, *layers):
            self._blob(connection, name, data)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described("config", config),
            "layers": [described("layer", data) for data in layers],
        }
        body = json.dumps(document).encode()
        path = f"/v2/{name}/manifests/{tag}"
        status, _ = self._ask(connection, "PUT", path, body, {"Content-Type": OCI_MANIFEST})
        assert status == 201, status
        with self._desk.lock:
            self._desk.images[name, tag] = body

    def _blob(self, connection: http.client.HTTPConnection, name: str, data: bytes) -> None:
        """Ask, mount, or send, in one piece or in several."""
        digest = digest_of(data)
        way = self._random.randrange(4)
        if way == 0 and self._ask(connection, "HEAD", f"/v2/{name}/blobs/{digest}")[0] == 200:
            return
        uploads = f"/v2/{name}/blobs/uploads/"
        if way == 1:
            source = self._random.choice(REPOSITORIES)
            status, location = self._ask(connection, "POST", f"{uploads}?mount={digest}&from={source}")
            if status == 201:
                return
        elif way == 2:
            status, _ = self._ask(connection, "POST", f"{uploads}?digest={digest}", data)
            assert status == 201, status
            return
        else:
            status, location = self._ask(connection, "POST", uploads)
        assert status == 202, status
        start = 0
        while start < len(data) and self._random.randrange(4):
            stop = min(len(data), start + self._random.randrange(1, 300_000))
            span = {"Content-Range": f"{start}-{stop - 1}"}
            status, location = self._ask(connection, "PATCH", location, data[start:stop], span)
            assert status == 202, status
            start = stop
        status, _ = self._ask(connection, "PUT", f"{location}?digest={digest}", data[start:])
        assert status == 201, status

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers.get("Location", "")


def described(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": TYPES[kind], "digest": digest_of(data), "size": len(data)}


@pytest.mark.timeout(240 + 20 * CRASHES)
def test_what_was_acknowledged_outlives_every_crash(directory: Path) -> None:
    config = directory / "hosting.toml"
    config.write_text(CONFIG)
    chance = random.Random(SEED)
    with Node("dying", directory, options=("--config", str(config))) as node:
        desk = Desk(node)
        desk.up.set()
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(Client(desk, number).run) for number in range(CLIENTS)]
            try:
                for _ in range(CRASHES):
                    wanted = len(desk.images) + chance.randrange(2, 12)
                    wait_until("pushes", lambda n=wanted: len(desk.images) >= n, timeout=60)
                    moment = time.perf_counter() + chance.random()
                    wait_until("a moment", lambda at=moment: time.perf_counter() >= at)
                    desk.up.clear()
                    node.kill()
                    node.start()
                    desk.up.set()
            finally:
                desk.over.set()
            for client in clients:
                client.result()
        last = time.perf_counter()
        assert desk.broken >= CRASHES  # it died in the middle of pushes
        node.kill()
        node.start()
        pull_all(node, desk)
        # Then nothing is left of the pushes that broke off.
        wait_until("the uploads' expiry", lambda: time.perf_counter() > last + EXPIRY + 1)
        node.stop()
        node.start()
        wait_until("expired uploads to go", lambda: not files_of(node.state, "uploads"), timeout=20)
        pull_all(node, desk)


def pull_all(node: Node, desk: Desk) -> None:
    for (name, tag), body in desk.images.items():
        digest = digest_of(body)
        for reference in (tag, digest):
            assert get(node.registry, f"/v2/{name}/manifests/{reference}").body == body
            assert pull_image(node.registry, name, reference) == digest


def files_of(state: Path, folder: str) -> list[Path]:
    return [path for found in state.rglob(folder) for path in found.rglob("*") if path.is_file()]
