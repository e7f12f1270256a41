"""The rig: origin, nginx, nodes and curl, in one directory on one disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.images import MIB, Content, Image, OciLayout
from tests.support.nodes import Node
from tests.support.processes import Nginx, ProcessFailedError, program
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from pathlib import Path

WARMER = 128 * MIB

UPSTREAM = "origin.test"


@dataclass(slots=True)
class Rig:
    """``size`` bytes is the large blob, ``repetitions`` how often each side of a ratio is measured."""

    directory: Path
    size: int
    repetitions: int
    samples: int
    layout: OciLayout = field(init=False)
    origin: DockerRegistry = field(init=False)
    nginx: Nginx = field(init=False)
    blob: Content = field(init=False)
    warmer: Content = field(init=False)
    """Another blob, which fresh processes get first: a node is a long-lived process."""
    _count: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make the large blob, start origin and nginx, and give them the blob."""
        self.layout = OciLayout(self.directory / "layout")
        self.blob = self.layout.layer("large", self.size, seed=1)
        self.warmer = self.layout.layer("warmer", WARMER, seed=2)
        self.origin = DockerRegistry(self.directory)
        self.nginx = Nginx(self.layout.root / "blobs" / "sha256", self.directory)
        with self.origin, self.nginx:
            self.origin.push("app", self.layout.image([self.blob, self.warmer]), "1")
            yield

    @property
    def path(self) -> str:
        """The large blob at a registry."""
        return f"/v2/app/blobs/{self.blob.digest}"

    def warm_up(self, address: str) -> None:
        """Have a fresh registry or node get the other blob."""
        curl(f"http://{address}/v2/app/blobs/{self.warmer.digest}", expected=self.warmer.size)

    @property
    def nginx_url(self) -> str:
        """The large blob at nginx."""
        return f"http://{self.nginx.address}/files/{self.blob.digest.removeprefix('sha256:')}"

    @contextmanager
    def node(self, *, tracker: str = "", peers: Iterable[str] = ()) -> Iterator[Node]:
        """Start a node with no content; its state is deleted at the end."""
        self._count += 1
        node = Node(
            f"node-{self._count}",
            self.directory,
            upstreams={UPSTREAM: self.origin.address},
            tracker=tracker,
            peers=peers,
        )
        try:
            with node:
                yield node
        finally:
            shutil.rmtree(node.state, ignore_errors=True)

    def small_blobs(self, count: int, size: int, *, seed: int) -> list[Content]:
        """Put ``count`` distinct blobs of ``size`` bytes at the origin."""
        blobs = [
            self.layout.add(
                (seed + n).to_bytes(8, "little").ljust(size, b"\0")[:size], "application/octet-stream"
            )
            for n in range(count)
        ]
        self.origin.push("app", Image(blobs[0], (), tuple(blobs)))
        return blobs


def settle() -> None:
    """Let the disk take what earlier measurements wrote, so that it does not slow the next one."""
    os.sync()


def touch_memory(directory: Path, size: int) -> None:
    """Have the kernel hold ``size`` bytes of memory ready: write a file and remove it again.

    A virtual machine gives free memory back to its host, and gets it back page by page, at a cost above
    that of all else that is measured here. Whoever runs first after a pause would pay it alone.
    """
    path = directory / "touched"
    with path.open("wb", buffering=0) as file:
        block = bytes(4 << 20)
        for _ in range(-(-size // len(block))):
            file.write(block)
    path.unlink()


@dataclass(frozen=True, slots=True)
class Curl:
    """What curl measured: seconds in all, and bytes a second."""

    seconds: float
    size: int

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.size / self.seconds


class CurlRun:
    """A curl under way; ``output`` is where the body goes."""

    def __init__(self, url: str, *, output: Path | str = "/dev/null", span: str = "") -> None:
        options = ["--range", span] if span else []
        self._popen = subprocess.Popen(
            [
                *(program("curl"), "--silent", "--show-error", "--fail", "--output", str(output)),
                *("--write-out", "%{time_total} %{size_download}", *options, url),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self, expected: int | None = None) -> Curl:
        """Wait for its end; an error or another size than ``expected`` is a failure."""
        out, err = self._popen.communicate(timeout=300)
        if self._popen.returncode:
            raise ProcessFailedError(f"curl ended with {self._popen.returncode}: {err.strip()}")
        seconds, size = out.split()
        if expected is not None and int(size) != expected:
            raise ProcessFailedError(f"curl received {size} bytes, not {expected}")
        return Curl(float(seconds), int(size))


def curl(url: str, *, expected: int | None = None, output: Path | str = "/dev/null", span: str = "") -> Curl:
    """Run curl to its end."""
    return CurlRun(url, output=output, span=span).result(expected)


def first_byte(address: str, path: str) -> float:
    """Seconds from connecting to the first byte of the body, on a new connection."""
    host, _, port = address.rpartition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    begun = time.perf_counter()
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:
            more = connection.recv(65536)
            if not more:
                raise ProcessFailedError(f"{address}{path}: no body: {received[:200]!r}")
            received += more
        elapsed = time.perf_counter() - begun
    if not received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
        raise ProcessFailedError(f"{address}{path}: {received[:200]!r}")
    return elapsed
