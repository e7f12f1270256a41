"""The origin: a real ``docker-registry`` whose access log is the count of what it was asked for."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import bcrypt

from tests.support.processes import Process, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.images import Content, Image

LINKED_FROM = 16 << 20
"""Blobs above this size are hard-linked into the registry's storage: an upload of a GiB takes 10 s."""

_LISTENING = re.compile(r"listening on ([0-9.]+:[0-9]+)")
_marks = itertools.count()


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the origin answered; ``written`` counts the body's bytes on the wire."""

    method: str
    path: str
    status: int
    written: int
    user_agent: str
    client: str
    """Address without the port."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests between two looks at the log."""

    requests: tuple[Request, ...]

    def gets(self, digest_or_tag: str) -> int:
        """Count successful GETs (200 and 206) of one blob or manifest in any repository."""
        return sum(1 for r in self._of(digest_or_tag) if r.method == "GET" and r.status in {200, 206})

    def heads(self, digest_or_tag: str) -> int:
        """Count HEADs."""
        return sum(1 for r in self._of(digest_or_tag) if r.method == "HEAD")

    def egress(self, digest: str = "", clients: Container[str] | None = None) -> int:
        """Body bytes sent, of one digest or of all blobs and manifests, to these addresses or to all."""
        chosen = self._of(digest) if digest else list(self.content)
        if clients is not None:
            chosen = [r for r in chosen if r.client in clients]
        # A HEAD's bytes are written by the registry and dropped by Go's server.
        return sum(r.written for r in chosen if r.method == "GET" and r.status in {200, 206})

    def copies(self, contents: Iterable[Content]) -> float:
        """Egress of these blobs and manifests, in copies: 1.0 when each byte left exactly once."""
        sizes = {c.digest: c.size for c in contents}
        return sum(self.egress(digest) for digest in sizes) / sum(sizes.values())

    def get_counts(self) -> Counter[str]:
        """Successful GETs by digest or tag."""
        return Counter(
            r.path.rpartition("/")[2] for r in self.content if r.method == "GET" and r.status in {200, 206}
        )

    @property
    def content(self) -> tuple[Request, ...]:
        """Requests for blobs and manifests."""
        return tuple(r for r in self.requests if "/blobs/" in r.path or "/manifests/" in r.path)

    @property
    def user_agents(self) -> set[str]:
        """Who asked for content."""
        return {r.user_agent for r in self.content}

    def _of(self, name: str) -> list[Request]:
        return [r for r in self.content if r.path.rpartition("/")[2] == name]


class DockerRegistry(Process):
    """``docker-registry`` on a free port; with ``remote`` a pull-through proxy of another one.

    ``users`` are names and passwords, without which it then does nothing.
    """

    address: str

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "origin",
        remote: str = "",
        users: dict[str, str] | None = None,
        listen: str = "127.0.0.1:0",
    ) -> None:
        self.root = directory / name
        self.root.mkdir(parents=True, exist_ok=True)
        proxy = f"proxy:\n  remoteurl: http://{remote}\n" if remote else ""
        auth = ""
        if users:
            auth = f"auth: {{htpasswd: {{realm: tests, path: {self.root}/htpasswd}}}}\n"
            hashed = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(5)) for name, word in users.items()}
            entries = (f"{name}:{entry.decode()}\n" for name, entry in hashed.items())
            (self.root / "htpasswd").write_text("".join(entries))
        config = self.root / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "log: {level: info, formatter: json, accesslog: {disabled: true}}\n"
            "storage:\n"
            "  cache: {blobdescriptor: inmemory}\n"
            f"  filesystem: {{rootdirectory: {self.root}/data}}\n"
            f"{proxy}{auth}"
            f"http: {{addr: '{listen}'}}\n"
        )
        super().__init__(name, ["docker-registry", "serve", config], directory)
        self._seen = 0
        self._start = 0

    @property
    def port(self) -> int:
        """The chosen port."""
        return int(self.address.rpartition(":")[2])

    def launch(self) -> None:
        """Start it; a later start finds its port in the log behind this point."""
        self._start = self.err.stat().st_size if self.err.exists() else 0
        super().launch()

    def wait_ready(self) -> None:
        """Wait for its word that it listens, which names the port."""
        self.address = self.wait_for("its port", self._find_address)

    def _find_address(self) -> str:
        found = _LISTENING.search(self.err.read_bytes()[self._start :].decode(errors="replace"))
        return found[1] if found else ""

    def push(self, repository: str, image: Image, *tags: str) -> None:
        """Put an image: blobs, child manifests, then the top under each tag."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            for blob in {b.digest: b for b in image.blobs}.values():
                self._put_blob(connection, repository, blob)
            for manifest in {m.digest: m for m in image.manifests}.values():
                self._put_manifest(connection, repository, manifest, manifest.digest)
            for tag in tags:
                self._put_manifest(connection, repository, image.top, tag)
        finally:
            connection.close()

    def traffic(self) -> Traffic:
        """Everything asked since the last call, all requests included that ended before this one."""
        mark = f"/v2/?mark={next(_marks)}"
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", mark)
        connection.getresponse().read()
        connection.close()
        return wait_until(f"{mark} in the origin's log", lambda: self._until(mark))

    def _until(self, mark: str) -> Traffic | None:
        with self.err.open("rb") as file:
            file.seek(self._seen)
            lines = file.read().splitlines(keepends=True)
        requests: list[Request] = []
        consumed = 0
        for line in lines:
            consumed += len(line)
            if not line.startswith(b"{") or b'"response completed' not in line:
                continue
            entry = json.loads(line)
            if entry["http.request.uri"] == mark:
                self._seen += consumed
                return Traffic(tuple(requests))
            requests.append(_request(entry))
        return None

    def _put_blob(self, connection: http.client.HTTPConnection, repository: str, blob: Content) -> None:
        connection.request("HEAD", f"/v2/{repository}/blobs/{blob.digest}")
        if _answer(connection)[0] == 200:
            return
        if blob.size > LINKED_FROM:
            self._link_blob(repository, blob)
            return
        connection.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
        status, headers = _answer(connection)
        assert status == 202, status
        location = headers["Location"].partition(self.address)[2]
        connection.request("PUT", f"{location}&digest={quote(blob.digest)}", body=blob.path.read_bytes())
        status, _ = _answer(connection)
        assert status == 201, status

    def _link_blob(self, repository: str, blob: Content) -> None:
        algorithm, _, encoded = blob.digest.partition(":")
        storage = self.root / "data" / "docker" / "registry" / "v2"
        data = storage / "blobs" / algorithm / encoded[:2] / encoded / "data"
        if not data.exists():
            data.parent.mkdir(parents=True, exist_ok=True)
            os.link(blob.path, data)
        link = storage / "repositories" / repository / "_layers" / algorithm / encoded / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(blob.digest)

    @staticmethod
    def _put_manifest(
        connection: http.client.HTTPConnection, repository: str, manifest: Content, reference: str
    ) -> None:
        connection.request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            body=manifest.path.read_bytes(),
            headers={"Content-Type": manifest.media_type},
        )
        status, _ = _answer(connection)
        assert status == 201, status


def _answer(connection: http.client.HTTPConnection) -> tuple[int, http.client.HTTPMessage]:
    response = connection.getresponse()
    response.read()
    return response.status, response.headers


def _request(entry: dict[str, Any]) -> Request:
    return Request(
        method=entry["http.request.method"],
        path=entry["http.request.uri"].partition("?")[0],
        status=int(entry.get("http.response.status", 0)),
        written=int(entry.get("http.response.written", 0)),
        user_agent=entry.get("http.request.useragent", ""),
        client=entry.get("http.request.remoteaddr", "").rpartition(":")[0],
    )
