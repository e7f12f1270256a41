"""A scripted registry that takes pushes: uploads, mounts, manifests by many tags, referrers, tokens."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from p2p.core.oci.digest import Digest
from tests.support.upstream import Reply, Request, ranged, upstream

INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class PushRegistry:
    """Repositories as dictionaries.

    ``faults`` are asked before each request and may answer in its place. ``token`` is what a client has to
    bring; each distinct scope that was asked for is in ``scopes``. ``referrers`` is whether there is the API.
    """

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: list[Callable[[Request], Reply | None]] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    token: str = ""
    realm: str = ""
    mounts: bool = True
    referrers: bool = True
    location: str = ""
    ids: itertools.count[int] = field(default_factory=itertools.count)

    def __call__(self, request: Request) -> Reply:
        for fault in self.faults:
            reply = fault(request)
            if reply is not None:
                return reply
        if request.path == "/token":
            self.scopes.append(" ".join(request.query["scope"]))
            return Reply(200, json.dumps({"token": self.token}).encode())
        name, _, rest = request.path.removeprefix("/v2/").partition("/blobs/uploads/")
        if "/blobs/uploads/" in request.path:
            refused = self._refused(request, name)
            return refused or self._upload(request, name, rest)
        for kind in ("blobs", "manifests", "referrers"):
            name, found, rest = request.path.removeprefix("/v2/").partition(f"/{kind}/")
            if found:
                return self._refused(request, name) or getattr(self, f"_{kind}")(request, name, rest)
        return Reply(404)

    def _refused(self, request: Request, name: str) -> Reply | None:
        if not self.token or request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        actions = "pull" if request.method in ("GET", "HEAD") else "push,pull"
        challenge = f'Bearer realm="{self.realm}/token",service="s",scope="repository:{name}:{actions}"'
        return Reply(401, headers=(("www-authenticate", challenge),))

    def _upload(self, request: Request, name: str, upload: str) -> Reply:
        repository = self.blobs.setdefault(name, {})
        if request.method == "POST":
            digest = request.query.get("mount", [""])[0]
            source = self.blobs.get(request.query.get("from", [""])[0], {})
            if self.mounts and digest in source:
                repository[digest] = source[digest]
                return Reply(201)
            upload = f"u{next(self.ids)}"
            self.uploads[upload] = b""
            return self._at(202, name, upload)
        if upload not in self.uploads:
            return Reply(404)
        if request.method == "DELETE":
            del self.uploads[upload]
            return Reply(204)
        if request.method == "GET":
            return self._at(204, name, upload)
        span = request.headers.get("content-range")
        if request.body and int(span.partition("-")[0] if span else 0) != len(self.uploads[upload]):
            return Reply(416)
        self.uploads[upload] += request.body
        if request.method == "PATCH":
            return self._at(202, name, upload)
        data = self.uploads.pop(upload)
        digest = request.query["digest"][0]
        if str(Digest.of(data, digest.partition(":")[0])) != digest:
            return Reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}')
        repository[digest] = data
        return Reply(201)

    def _at(self, status: int, name: str, upload: str) -> Reply:
        end = max(0, len(self.uploads[upload]) - 1)
        location = f"{self.location}/v2/{name}/blobs/uploads/{upload}?state=x"
        headers = (("location", location), ("range", f"0-{end}"))
        return Reply(status, headers=headers, length=None if status == 204 else -1)

    def _blobs(self, request: Request, name: str, digest: str) -> Reply:
        data = self.blobs.get(name, {}).get(digest)
        return Reply(404) if data is None else ranged(request, data)

    def _manifests(self, request: Request, name: str, reference: str) -> Reply:
        repository = self.manifests.setdefault(name, {})
        if request.method == "PUT":
            digest = str(Digest.of(request.body, "sha512" if reference.startswith("sha512:") else "sha256"))
            repository[digest] = repository[reference] = request.headers["content-type"], request.body
            headers = (("docker-content-digest", digest),)
            subject = json.loads(request.body).get("subject")
            if subject and self.referrers:
                headers += (("oci-subject", subject["digest"]),)
            return Reply(201, headers=headers)
        if reference not in repository:
            return Reply(404)
        media_type, data = repository[reference]
        headers = (("content-type", media_type), ("docker-content-digest", str(Digest.of(data))))
        return Reply(200, data, headers)

    def _referrers(self, request: Request, name: str, digest: str) -> Reply:
        if not self.referrers:
            return Reply(404)
        found = {}
        for media_type, data in self.manifests.get(name, {}).values():
            if json.loads(data).get("subject", {}).get("digest") == digest:
                own = str(Digest.of(data))
                found[own] = {"mediaType": media_type, "digest": own, "size": len(data)}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(found.values())}
        return Reply(200, json.dumps(index).encode(), (("content-type", INDEX),))


@contextmanager
def registry_in_a_thread() -> Iterator[str]:
    """Run a registry on a loop of its own; gives its host."""
    ready = threading.Event()
    found: list[tuple[int, trio.lowlevel.TrioToken, trio.Event]] = []

    async def main() -> None:
        async with upstream(PushRegistry()) as server:
            stop = trio.Event()
            found.append((server.port, trio.lowlevel.current_trio_token(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    ready.wait(10)
    port, token, stop = found[0]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=token)
        thread.join(10)
