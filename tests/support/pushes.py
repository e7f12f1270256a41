"""Pushes and deletes at random against a hosted registry, with a model beside it that knows every answer.

A program is a list of steps; what a step names (an upload, a repository, a blob) is a number that is taken
modulo what there is, so that any list of steps is a program, and a smaller one is as good.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from hypothesis import strategies as st

from tests.support.images import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from tests.support.nodes import Answer

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable, Mapping

    from hypothesis.strategies import SearchStrategy

CONTENTS = (b"", b"{}", b"a" * 100, bytes(range(256)) * 20, b"z" * 70_000)
ALGORITHMS = ("sha256", "sha512")
TAGS = ("latest", "v1", "V2", "_x")
TYPES = ("application/vnd.example.one", "application/vnd.example.two")

_runs = itertools.count()


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """Hash."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@dataclass(slots=True)
class Upload:
    """An upload as it should be; ``open`` is None where the answer left that open."""

    repository: str
    location: str
    data: bytes = b""
    open: bool | None = True


@dataclass(slots=True)
class Pushed:
    """A manifest as it should be."""

    data: bytes
    media_type: str
    refers: frozenset[str]
    subject: str
    artifact_type: str


@dataclass(slots=True)
class Held:
    """A repository as it should be."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, Pushed] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Pusher:
    """Runs one program in two fresh repositories, ``<prefix>-<number>-0`` and ``-1``."""

    def __init__(self, connection: http.client.HTTPConnection, prefix: str) -> None:
        self._connection = connection
        run = next(_runs)
        self._names = [f"{prefix}-{run}-{number}" for number in range(2)]
        self._held = {name: Held() for name in self._names}
        self._uploads: list[Upload] = []

    def run(self, program: list[Step]) -> None:
        """Run all steps; AssertionError where an answer is not the model's."""
        for step in program:
            getattr(self, step.verb)(step)
        for name in self._names:
            self._compare(name)
        for upload in self._uploads:
            if upload.open is not False:
                self._ask("DELETE", upload.location, {204, 404})

    # Uploads

    def begin(self, step: Step) -> None:
        name = self._name(step)
        query = {"digest-algorithm": step.algorithm} if step.flag else {}
        self._opened(name, self._ask("POST", f"/v2/{name}/blobs/uploads/?{urlencode(query)}", {202}))

    def whole(self, step: Step) -> None:
        """Push in one POST, with the right digest or with another's."""
        name, data = self._name(step), step.content
        digest = digest_of(data + b"!" * step.wrong, step.algorithm)
        target = f"/v2/{name}/blobs/uploads/?{urlencode({'digest': digest})}"
        if step.wrong:
            self._ask("POST", target, {400}, data, code="DIGEST_INVALID")
        else:
            self._stored(name, digest, data, self._ask("POST", target, {201}, data))

    def patch(self, step: Step) -> None:
        if (upload := self._upload(step)) is None:
            return
        if upload.open is False:
            self._ask("PATCH", upload.location, {404}, step.content, code="BLOB_UPLOAD_UNKNOWN")
            return
        headers, fits = self._content_range(upload, step)
        answer = self._ask("PATCH", upload.location, {202} if fits else {416}, step.content, headers=headers)
        if fits:
            upload.data += step.content
            upload.location = answer.headers["location"]
            self._progress(upload, answer)

    def put(self, step: Step) -> None:
        if (upload := self._upload(step)) is None:
            return
        headers, fits = self._content_range(upload, step)
        data = upload.data + step.content
        digest = digest_of(data + b"!" * step.wrong, step.algorithm)
        target = f"{upload.location}{'&' if '?' in upload.location else '?'}{urlencode({'digest': digest})}"
        if upload.open is False:
            self._ask("PUT", target, {404}, step.content, code="BLOB_UPLOAD_UNKNOWN")
        elif not fits:
            self._ask("PUT", target, {416}, step.content, headers=headers)
        elif step.wrong:
            self._ask("PUT", target, {400}, step.content, headers=headers, code="DIGEST_INVALID")
            upload.open = None
        else:
            answer = self._ask("PUT", target, {201}, step.content, headers=headers)
            upload.open = False
            self._stored(upload.repository, digest, data, answer)

    def progress(self, step: Step) -> None:
        if (upload := self._upload(step)) is None:
            return
        answer = self._ask("GET", upload.location, {204} if upload.open else {404})
        if upload.open:
            self._progress(upload, answer)

    def cancel(self, step: Step) -> None:
        if (upload := self._upload(step)) is not None:
            self._ask("DELETE", upload.location, {204} if upload.open else {404})
            upload.open = False

    def strange(self, step: Step) -> None:
        """Another repository's upload is nobody's."""
        if (upload := self._upload(step)) is not None:
            other = next(name for name in self._names if name != upload.repository)
            elsewhere = upload.location.replace(f"/v2/{upload.repository}/", f"/v2/{other}/")
            self._ask("PATCH", elsewhere, {404}, step.content, code="BLOB_UPLOAD_UNKNOWN")

    # Blobs

    def mount(self, step: Step) -> None:
        name, digest = self._name(step), digest_of(step.content, step.algorithm)
        other = next(each for each in self._names if each != name)
        query = {"mount": digest} | ({"from": other} if step.flag else {})
        there = digest in self._held[other].blobs
        # Without from, earlier programs' repositories count too.
        expected = {201} if there else {202} if step.flag else {201, 202}
        answer = self._ask("POST", f"/v2/{name}/blobs/uploads/?{urlencode(query)}", expected)
        if answer.status == 201:
            self._stored(name, digest, step.content, answer)
        else:
            self._opened(name, answer)

    def read(self, step: Step) -> None:
        name, digest = self._name(step), digest_of(step.content, step.algorithm)
        self._check_blob(name, digest, self._held[name].blobs.get(digest))

    def delete(self, step: Step) -> None:
        """Delete a blob: not while a manifest of the repository refers to it."""
        name, digest = self._name(step), digest_of(step.content, step.algorithm)
        held = self._held[name]
        if step.flag and held.blobs:
            digest = sorted(held.blobs)[step.number % len(held.blobs)]
        used = any(digest in each.refers for each in held.manifests.values())
        expected = 404 if digest not in held.blobs else 405 if used else 202
        self._ask("DELETE", f"/v2/{name}/blobs/{digest}", {expected})
        if expected == 202:
            del held.blobs[digest]
            self._check_blob(name, digest, None)

    # Manifests

    def image(self, step: Step) -> None:
        """Push an image, and before it what it is made of; if ``wrong``, only as much of that as is there."""
        name, layer = self._name(step), CONTENTS[step.number % len(CONTENTS)]
        parts = {digest_of(step.content, step.algorithm): step.content, digest_of(layer): layer}
        for digest, data in parts.items():
            if not step.wrong and digest not in self._held[name].blobs:
                target = f"/v2/{name}/blobs/uploads/?{urlencode({'digest': digest})}"
                self._stored(name, digest, data, self._ask("POST", target, {201}, data))
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": TYPES[step.upload % 2],
            "config": self._descriptor(step.content, OCI_CONFIG, step.algorithm),
            "layers": [self._descriptor(layer, OCI_LAYER, "sha256")],
        }
        self._push_manifest(step, document, OCI_MANIFEST)

    def index(self, step: Step) -> None:
        held = self._held[self._name(step)]
        chosen = sorted(held.manifests)[: step.number % 3]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {"mediaType": m.media_type, "digest": d, "size": len(m.data)}
                for d, m in ((d, held.manifests[d]) for d in chosen)
            ],
        }
        self._push_manifest(step, document, OCI_INDEX)

    def pull(self, step: Step) -> None:
        name = self._name(step)
        self._check_tag(name, step.tag)

    def untag(self, step: Step) -> None:
        name = self._name(step)
        tags = self._held[name].tags
        self._ask("DELETE", f"/v2/{name}/manifests/{step.tag}", {202} if step.tag in tags else {404})
        tags.pop(step.tag, None)
        self._check_tag(name, step.tag)

    def remove(self, step: Step) -> None:
        """Delete a manifest by digest: its tags go with it."""
        name = self._name(step)
        held = self._held[name]
        if not held.manifests:
            return
        digest = sorted(held.manifests)[step.number % len(held.manifests)]
        self._ask("DELETE", f"/v2/{name}/manifests/{digest}", {202})
        del held.manifests[digest]
        held.tags = {tag: target for tag, target in held.tags.items() if target != digest}
        self._ask("GET", f"/v2/{name}/manifests/{digest}", {404}, code="MANIFEST_UNKNOWN")

    def _push_manifest(self, step: Step, document: dict[str, object], media_type: str) -> None:
        name = self._name(step)
        held = self._held[name]
        if step.flag and held.manifests:
            subject = sorted(held.manifests)[step.number % len(held.manifests)]
            target = held.manifests[subject]
            document["subject"] = {
                "mediaType": target.media_type,
                "digest": subject,
                "size": len(target.data),
            }
        data = json.dumps(document).encode()
        digest = digest_of(data, step.algorithm)
        refers = frozenset(_children(document))
        by_tag = step.algorithm == "sha256" and step.number % 2
        tags = [step.tag] if by_tag else list(TAGS[: step.number % 3])
        target_path = f"/v2/{name}/manifests/{step.tag if by_tag else digest}"
        query = "" if by_tag else "?" + urlencode([("tag", tag) for tag in tags])
        missing = refers - held.blobs.keys() - held.manifests.keys()
        headers = {"Content-Type": media_type}
        if missing:
            self._ask("PUT", target_path + query, {404}, data, headers=headers, code="MANIFEST_BLOB_UNKNOWN")
            return
        answer = self._ask("PUT", target_path + query, {201}, data, headers=headers)
        subject = str(document.get("subject", {"digest": ""})["digest"])  # type: ignore[index]
        assert answer.headers.get("oci-subject", "") == subject, answer
        assert answer.headers["docker-content-digest"] == digest, answer
        if not by_tag:
            assert set(answer.headers.get("oci-tag", "").replace(",", " ").split()) == set(tags), answer
        kind = str(document.get("artifactType", ""))
        held.manifests[digest] = Pushed(data, media_type, refers, subject, kind)
        held.tags |= dict.fromkeys(tags, digest)
        self._check_manifest(answer.headers["location"], digest, held.manifests[digest])

    # What must hold

    def _compare(self, name: str) -> None:
        held = self._held[name]
        for digest, data in held.blobs.items():
            self._check_blob(name, digest, data)
        for digest, manifest in held.manifests.items():
            self._check_manifest(f"/v2/{name}/manifests/{digest}", digest, manifest)
        for tag in TAGS:
            self._check_tag(name, tag)
        self._check_lists(name, held)

    def _check_lists(self, name: str, held: Held) -> None:
        expected = sorted(held.tags)
        answer = self._ask("GET", f"/v2/{name}/tags/list", {200} if expected else {200, 404})
        if answer.status == 200:
            assert (json.loads(answer.body)["tags"] or []) == expected, (answer, expected)
        for subject in held.manifests:
            for kind in ("", *TYPES):
                query = f"?{urlencode({'artifactType': kind})}" if kind else ""
                answer = self._ask("GET", f"/v2/{name}/referrers/{subject}{query}", {200})
                found = {each["digest"] for each in json.loads(answer.body)["manifests"]}
                assert found == {
                    digest
                    for digest, each in held.manifests.items()
                    if each.subject == subject and (not kind or each.artifact_type == kind)
                }
                assert answer.headers.get("oci-filters-applied") == ("artifactType" if kind else None), answer

    def _check_tag(self, name: str, tag: str) -> None:
        held = self._held[name]
        path = f"/v2/{name}/manifests/{tag}"
        if (digest := held.tags.get(tag)) is None:
            self._ask("GET", path, {404}, code="MANIFEST_UNKNOWN")
        else:
            self._check_manifest(path, digest, held.manifests[digest])

    def _check_manifest(self, path: str, digest: str, expected: Pushed) -> None:
        answer = self._ask("GET", path, {200})
        assert answer.body == expected.data, answer
        assert answer.headers["content-type"] == expected.media_type, answer
        assert answer.headers["docker-content-digest"] == digest, answer

    def _check_blob(self, name: str, digest: str, data: bytes | None) -> None:
        path = f"/v2/{name}/blobs/{digest}"
        head = self._ask("HEAD", path, {404} if data is None else {200})
        if data is None:
            self._ask("GET", path, {404}, code="BLOB_UNKNOWN")
        else:
            assert head.headers["content-length"] == str(len(data)), head
            assert self._ask("GET", path, {200}).body == data

    # Helpers

    def _opened(self, name: str, answer: Answer) -> None:
        upload = Upload(name, answer.headers["location"])
        self._uploads.append(upload)

    def _stored(self, name: str, digest: str, data: bytes, answer: Answer) -> None:
        assert answer.headers["location"] == f"/v2/{name}/blobs/{digest}", answer
        self._held[name].blobs[digest] = data

    def _progress(self, upload: Upload, answer: Answer) -> None:
        assert answer.headers["range"] == f"0-{max(len(upload.data) - 1, 0)}", (answer, len(upload.data))

    def _content_range(self, upload: Upload, step: Step) -> tuple[dict[str, str], bool]:
        """Give a Content-Range and whether it fits; none where the body is empty, or the step wants none."""
        size, here = len(step.content), len(upload.data)
        start = here + (0, 0, 1, -1)[step.number % 4]
        if not size or step.number % 4 == 0 or start < 0:
            return {}, True
        return {"Content-Range": f"{start}-{start + size - 1}"}, start == here

    def _descriptor(self, data: bytes, media_type: str, algorithm: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)}

    def _name(self, step: Step) -> str:
        return self._names[step.repository % 2]

    def _upload(self, step: Step) -> Upload | None:
        usable = [each for each in self._uploads if each.open is not None]
        return usable[step.upload % len(usable)] if usable else None

    def _ask(
        self,
        method: str,
        path: str,
        expected: set[int],
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        code: str = "",
    ) -> Answer:
        self._connection.request(method, path, body or None, dict(headers or {}))
        response = self._connection.getresponse()
        # OCI-Tag may come several times.
        found = {name.lower(): ", ".join(response.headers.get_all(name, ())) for name in response.headers}
        answer = Answer(response.status, found, response.read())
        assert answer.status in expected, (method, path, headers, len(body), expected, answer)
        assert not code or answer.error_code == code, (method, path, code, answer)
        return answer


def _children(document: Mapping[str, object]) -> list[str]:
    parts = [document.get("config"), *document.get("layers", ()), *document.get("manifests", ())]  # type: ignore[misc]
    return [part["digest"] for part in parts if part]  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ``verb`` is a method of Pusher, the rest is what it may need."""

    verb: str
    repository: int
    upload: int
    number: int
    content: bytes
    algorithm: str
    tag: str
    flag: bool
    wrong: bool


VERBS = (
    *("begin", "whole", "whole", "patch", "patch", "put", "put", "progress", "cancel", "strange", "mount"),
    *("read", "delete", "image", "image", "index", "pull", "untag", "remove"),
)


def programs() -> SearchStrategy[list[Step]]:
    """Up to 40 steps."""
    step: Callable[..., Step] = Step
    small = st.integers(0, 11)
    steps = st.builds(
        step,
        verb=st.sampled_from(VERBS),
        repository=st.integers(0, 1),
        upload=small,
        number=small,
        content=st.sampled_from(CONTENTS) | st.binary(max_size=300),
        algorithm=st.sampled_from(("sha256", "sha256", "sha512")),
        tag=st.sampled_from(TAGS),
        flag=st.booleans(),
        wrong=st.integers(0, 4).map(lambda n: n == 4),
    )
    return st.lists(steps, max_size=40)
