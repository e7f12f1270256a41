"""Fuzzers over the whole front end of a real node: no 5xx without a failing upstream, no error logged.

``REMORA_FUZZ_SECONDS`` (60) is for all of them together, ``REMORA_FUZZ_SEED`` (0) where they begin.
"""

from __future__ import annotations

import base64
import functools
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support import fuzz, pushes
from tests.support.images import OciLayout, small_layers
from tests.support.nodes import Node
from tests.support.processes import free_port
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from schemathesis import APIOperation, Case
    from schemathesis.core.transport import Response

    from tests.support.images import Image

DESCRIPTION = schemathesis.openapi.from_path(str(Path(__file__).parents[2] / "docs/openapi.yaml"))
OPERATIONS = tuple(result.ok() for result in DESCRIPTION.get_all_operations())
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TERMS = (
    *("app", "fu*", "repository:fuzz*", "tag:v1", "tag:v*", "platform:linux", "digest:sha256:0", "size:>1kB"),
    *(
        "annotation:a",
        'annotation:a="b c"',
        "referrers:>0",
        "media-type:*",
        "-app",
        '"',
        "x:",
        "*",
        "NEAR(",
        "é",
    ),
)
"""Of a search, sound and not."""

USERS = {"alice": "wonder", "bob": "builder"}


def basic(name: str, word: str) -> str:
    """An Authorization of a user."""
    return "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()


KNOWN = {basic(name, word): name for name, word in USERS.items()}
AUTHORIZATIONS = (
    *("", *KNOWN, *KNOWN),
    *(basic("alice", "builder"), basic("", ""), basic("alice", ""), basic("eve", "wonder")),
    *("Basic", "Basic !!!", "Basic " + "A" * 5000, "Bearer a.b.c", "Negotiate x", "alice:wonder"),
)

SHARE = fuzz.SECONDS / 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(fuzz.SECONDS + 240)]


@pytest.fixture(scope="module")
def image(session_directory: Path) -> Image:
    layout = OciLayout(session_directory / "fuzz-layout")
    return layout.image(small_layers(layout, 2, 1000, seed=9000), tag="v1")


@pytest.fixture(scope="module")
def node(session_directory: Path, image: Image) -> Iterator[Node]:
    """A node that hosts ``fuzz*``, with an upstream that has ``app`` and one that nobody listens for."""
    with DockerRegistry(session_directory, name="fuzz-origin") as origin:
        origin.push("app", image, "v1")
        upstreams = {fuzz.UP: origin.address, fuzz.DOWN: f"127.0.0.1:{free_port()}"}
        options = ("--hosted", f"{fuzz.HOSTED}*")
        with Node("fuzzed", session_directory, upstreams=upstreams, options=options) as process:
            yield process


@pytest.fixture(scope="module")
def guarded(session_directory: Path, image: Image) -> Iterator[Node]:
    """The same with passwords: alice may do all with ``fuzz*``, bob may read it, and everybody ``app``."""
    passwords = session_directory / "fuzz-passwords"
    hashed = {name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(5)) for name, word in USERS.items()}
    passwords.write_text("".join(f"{name}:{entry.decode()}\n" for name, entry in hashed.items()))
    rules = session_directory / "fuzz-rules.toml"
    rules.write_text(
        f"""
        [[auth.rules]]
        subjects = ["alice"]
        repositories = ["{fuzz.HOSTED}*"]
        actions = ["pull", "push", "delete"]
        [[auth.rules]]
        subjects = ["bob"]
        repositories = ["{fuzz.HOSTED}*"]
        actions = ["pull"]
        [[auth.rules]]
        subjects = ["anonymous"]
        repositories = ["app"]
        actions = ["pull"]
        """
    )
    with DockerRegistry(session_directory, name="guarded-origin") as origin:
        origin.push("app", image, "v1")
        upstreams = {fuzz.UP: origin.address, fuzz.DOWN: f"127.0.0.1:{free_port()}"}
        options = ("--hosted", f"{fuzz.HOSTED}*", "--htpasswd", str(passwords), "--config", str(rules))
        with Node("guarded", session_directory, upstreams=upstreams, options=options) as process:
            yield process


def call(node: Node, case: Case, **headers: str) -> Response:
    """Make a request; its answer is one that the description tells of."""
    response = case.call(base_url=f"http://{node.registry}", timeout=60, headers=headers)
    if response.status_code >= 500:
        assert response.status_code in fuzz.UNREACHABLE, response.text
        assert (case.query or {}).get("ns") == fuzz.DOWN, response.text
    if response.headers.get("content-type", [""])[0].startswith("text/plain"):
        # The server refused what is no HTTP, before it was a request.
        assert response.status_code in {400, 431} | fuzz.NO_HTTP, response.text
    else:
        case.validate_response(response, checks=CHECKS)
    return response


def test_requests_of_the_description(node: Node, image: Image) -> None:
    """Requests that the description allows, and others: every answer is one that it tells of."""

    def check(case: Case) -> None:
        call(node, case)

    fuzzer = fuzz.Fuzzer(SHARE)
    with fuzz.unharmed(node):
        fuzzer.run(cases(image), check)
    assert fuzzer.examples > SHARE, fuzzer


def test_who_is_let_in(guarded: Node, image: Image) -> None:
    """Nobody gets an answer that the rules don't grant, however he asks."""

    def check(asked: tuple[Case, str]) -> None:
        case, authorization = asked
        response = call(guarded, case, **({"Authorization": authorization} if authorization else {}))
        if response.status_code == 401:
            assert response.headers["www-authenticate"], response
        if response.status_code >= 400 or "_remora/search" in case.operation.path:
            return  # refused, or about what he may read alone: tests/shell/search
        path = case.operation.path
        if path in ("/v2/", "/v2/_oci/ext/discover"):
            return
        who = KNOWN.get(authorization, "")
        reads = case.operation.method.upper() in ("GET", "HEAD") and "uploads" not in path
        name = (case.path_parameters or {}).get("name", "")
        assert path != "/v2/_catalog", "nobody may read everything"
        if reads and name == "app":
            return
        assert name.startswith(fuzz.HOSTED), (who, case.operation.label, name)
        assert who == "alice" or (reads and who == "bob"), (who, case.operation.label, name)

    fuzzer = fuzz.Fuzzer(SHARE)
    with fuzz.unharmed(guarded):
        fuzzer.run(st.tuples(cases(image), st.sampled_from(AUTHORIZATIONS)), check)
    assert fuzzer.examples > SHARE / 2, fuzzer


@st.composite
def cases(draw: st.DrawFn, image: Image) -> Case:
    """Draw a request of any operation. Names, digests and the like are more often real than not."""
    operation = draw(st.sampled_from(OPERATIONS))
    parameters = {parameter.name for parameter in operation.path_parameters}
    real = {
        "name": st.sampled_from((fuzz.HOSTED, "app", "nonesuch")),
        "digest": st.sampled_from([content.digest for content in (*image.manifests, *image.blobs)]),
        # Never a layer's digest: docker-registry answers 500 to who takes that for a manifest.
        "reference": st.sampled_from(["v1", image.digest]),
    }
    path = {name: draw(real[name]) for name in sorted(parameters & real.keys()) if draw(st.integers(0, 3))}
    mode = draw(st.sampled_from(list(GenerationMode)))
    case = draw(_strategy(operation, mode, tuple(path.items())))
    if "_remora/search" in operation.path and draw(st.booleans()):
        case.query = {**(case.query or {}), "q": " ".join(draw(st.lists(st.sampled_from(TERMS), max_size=4)))}
    if parameters and not draw(st.integers(0, 15)):
        # Seldom the one that is down: each request to it is tried three times.
        ns = draw(st.sampled_from((fuzz.UP, "nonesuch", fuzz.UP, "nonesuch", fuzz.DOWN)))
        case.query = {**(case.query or {}), "ns": ns}
    return case


@functools.cache
def _strategy(
    operation: APIOperation, mode: GenerationMode, path: tuple[tuple[str, str], ...]
) -> SearchStrategy[Case]:
    return operation.as_strategy(generation_mode=mode, path_parameters=dict(path))


def test_raw_bytes(node: Node) -> None:
    """Whatever comes down a connection: it ends, and no answer is a 5xx but for what HTTP/1.1 is not."""

    def check(data: bytes) -> None:
        answer = fuzz.send_raw(node.registry, data)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 "), answer[:200]
        assert not {s for s in fuzz.statuses(answer) if s >= 500} - fuzz.NO_HTTP, answer[:2000]

    fuzzer = fuzz.Fuzzer(SHARE)
    with fuzz.unharmed(node):
        fuzzer.run(fuzz.raw_requests(), check)
    assert fuzzer.examples > SHARE, fuzzer


def test_pushes_against_a_model(node: Node) -> None:
    """Uploads, mounts, manifests, tags and deletes in any order: every answer is the model's."""
    connection = http.client.HTTPConnection(node.registry, timeout=60)

    def check(program: list[pushes.Step]) -> None:
        try:
            pushes.Pusher(connection, fuzz.HOSTED).run(program)
        finally:
            connection.close()  # it opens anew by itself: nothing of a failure is left in it

    fuzzer = fuzz.Fuzzer(SHARE)
    with fuzz.unharmed(node):
        fuzzer.run(pushes.programs(), check)
    assert fuzzer.examples > SHARE / 4, fuzzer
