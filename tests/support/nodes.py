"""Remora's own programs under test: nodes, the tracker, commands; and a client that checks every byte."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.processes import ReadyProcess, run

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

REMORA = (sys.executable, "-m", "p2p")

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:]\w*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
READ = 1 << 20


class Tracker(ReadyProcess):
    """``remora tracker`` on a free port; ``url`` is what nodes are told."""

    def __init__(self, directory: Path, *, name: str = "tracker", listen: str = "127.0.0.1:0") -> None:
        argv = [*REMORA, "tracker", "--listen", listen, "--log-format", "json"]
        super().__init__(name, argv, directory)

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT``."""
        return f"ws://{self.ready['listen']}"


class Node(ReadyProcess):
    """``remora node`` with every port chosen freely and its state under ``directory``.

    ``tracker``: one URL or several. ``upstreams`` maps names to ``127.0.0.1:PORT``; the first is the default.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        upstreams: Mapping[str, str] | None = None,
        tracker: str | Sequence[str] = (),
        peers: Iterable[str] = (),
        host: Sequence[Path] = (),
        state: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.state = state or directory / f"{name}.state"
        argv: list[str | Path] = [*REMORA, "node", "--name", name, "--state", self.state]
        for listener in ("--registry-listen", "--peer-listen", "--metrics-listen"):
            argv += [listener, "127.0.0.1:0"]
        for url in (tracker,) if isinstance(tracker, str) else tracker:
            argv += ["--tracker", url] if url else []
        for peer in peers:
            argv += ["--peer", peer]
        for layout in host:
            argv += ["--host", layout]
        for upstream, address in (upstreams or {}).items():
            argv += ["--upstream", f"{upstream}=http://{address}"]
        if upstreams:
            argv += ["--default-upstream", next(iter(upstreams))]
        argv += ["--log-format", "json", "--log-level", "info", *options]
        super().__init__(name, argv, directory)

    @property
    def registry(self) -> str:
        """Address of the /v2/ front end."""
        return str(self.ready["registry"])

    @property
    def port(self) -> int:
        """Port of the /v2/ front end."""
        return int(self.registry.rpartition(":")[2])

    @property
    def peer(self) -> str:
        """Address of the peer port."""
        return str(self.ready["peer"])

    def metric(self, name: str, **labels: str) -> float:
        """Sum the samples of a metric that carry these labels; 0 where there are none."""
        total = 0.0
        for found_name, found, value in self.metrics():
            if found_name == name and labels.items() <= found.items():
                total += value
        return total

    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        """Scrape: name, labels, value."""
        body = get(str(self.ready["metrics"]), "/metrics").body.decode()
        samples = []
        for line in body.splitlines():
            if found := _SAMPLE.match(line):
                labels = dict(_LABEL.findall(found["labels"] or ""))
                samples.append((found["name"], labels, float(found["value"])))
        return samples

    def received(self, source: str = "") -> int:
        """Bytes received, from ``peers``, ``origin`` or both."""
        return int(self.metric("remora_received_bytes_total", **({"source": source} if source else {})))

    def status(self) -> dict[str, Any]:
        """What the admin socket says."""
        connection = _UnixConnection(str(self.ready["admin"]))
        try:
            connection.request("GET", "/status")
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def logs(self) -> list[dict[str, Any]]:
        """Its structured log so far."""
        text = self.errors() + "\n" + self.out.read_text(errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def swarm(
    directory: Path,
    names: Iterable[str],
    *,
    upstreams: Mapping[str, str],
    tracker: str | Sequence[str] = (),
    options: Sequence[str] = (),
) -> Iterator[list[Node]]:
    """Start nodes at once, cold, and stop them at the end."""
    nodes = [Node(name, directory, upstreams=upstreams, tracker=tracker, options=options) for name in names]
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


def remora(*args: str | Path, timeout: float = 120.0, check: bool = True) -> CompletedProcess[str]:
    """Run a ``remora`` command to its end."""
    return run([*REMORA, *args], timeout=timeout, check=check)


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error_code(self) -> str:
        """The code of a /v2/ error body."""
        return str(json.loads(self.body)["errors"][0]["code"])


def get(address: str, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """Make one small request."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Download:
    """What a client received of a blob: its SHA-256 as a digest, its length, the promised length."""

    digest: str
    size: int
    promised: int
    status: int


def download(address: str, path: str) -> Download:
    """GET a blob and hash what comes; a cut connection gives a short ``size``, never an exception."""
    connection = http.client.HTTPConnection(address, timeout=120)
    hasher, size = hashlib.sha256(), 0
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        promised = int(response.headers.get("Content-Length", "-1"))
        buffer = memoryview(bytearray(READ))
        try:
            while length := response.readinto(buffer):
                hasher.update(buffer[:length])
                size += length
        except (http.client.HTTPException, OSError):
            pass  # the caller compares size with promised
        return Download(f"sha256:{hasher.hexdigest()}", size, promised, response.status)
    finally:
        connection.close()


def pull_blob(address: str, repository: str, digest: str) -> None:
    """Pull one blob as a client does; every byte must be right."""
    got = download(address, f"/v2/{repository}/blobs/{digest}")
    assert (got.status, got.digest) == (200, digest), got


def pull_image(address: str, repository: str, reference: str) -> str:
    """Pull an image as a client does, three blobs at a time, and check every digest; give the top's.

    Follows every manifest of an index.
    """
    accept = {
        "Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
        "application/vnd.docker.distribution.manifest.v2+json, "
        "application/vnd.docker.distribution.manifest.list.v2+json"
    }
    answer = get(address, f"/v2/{repository}/manifests/{reference}", headers=accept)
    assert answer.status == 200, answer
    digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    assert answer.headers["docker-content-digest"] == digest, answer
    manifest = json.loads(answer.body)
    for child in manifest.get("manifests", ()):
        assert pull_image(address, repository, child["digest"]) == child["digest"]
    if "layers" in manifest:
        blobs = {d["digest"] for d in (manifest["config"], *manifest["layers"])}
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda blob: pull_blob(address, repository, blob), sorted(blobs)))
    return digest
