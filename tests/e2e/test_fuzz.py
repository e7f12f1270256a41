"""Fuzzers over the whole front end of a real node: no 5xx without a failing upstream, no error logged.

``REMORA_FUZZ_SECONDS`` (60) is for all of them together, ``REMORA_FUZZ_SEED`` (0) where they begin.
"""

from __future__ import annotations

import functools
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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

SHARE = fuzz.SECONDS / 3
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


def test_requests_of_the_description(node: Node, image: Image) -> None:
    """Requests that the description allows, and others: every answer is one that it tells of."""

    def check(case: Case) -> None:
        response = case.call(base_url=f"http://{node.registry}", timeout=60)
        if response.status_code >= 500:
            assert response.status_code in fuzz.UNREACHABLE, response.text
            assert (case.query or {}).get("ns") == fuzz.DOWN, response.text
        if response.headers.get("content-type", [""])[0].startswith("text/plain"):
            # The server refused what is no HTTP, before it was a request.
            assert response.status_code in {400, 431} | fuzz.NO_HTTP, response.text
        else:
            case.validate_response(response, checks=CHECKS)

    fuzzer = fuzz.Fuzzer(SHARE)
    with fuzz.unharmed(node):
        fuzzer.run(cases(image), check)
    assert fuzzer.examples > SHARE, fuzzer


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
