"""Fuzzing a real node from outside: rounds of Hypothesis against the clock, raw requests, what must hold.

Every round has a seed of its own, counted up from ``REMORA_FUZZ_SEED`` (0), so that a failure comes again.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.nodes import get

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from tests.support.nodes import Node

T = TypeVar("T")

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("REMORA_FUZZ_SECONDS", "60"))
"""For all fuzzers together."""
SEED = int(os.environ.get("REMORA_FUZZ_SEED", "0"))

MEMORY = 400 << 20
"""Resident bytes that a node may have after all of it; idle it has some 70 MB."""

HOSTED = "fuzz"
UP = "origin.test"
DOWN = "down.test"
"""An upstream that nobody listens for: only what names it may be answered with 502, 503 or 504."""
UNREACHABLE = frozenset({502, 503, 504})

NO_HTTP = frozenset({501, 505})
"""A transfer coding that nobody has (RFC 9112, 6.1), and other versions of HTTP."""

SETTINGS = settings(
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


class Fuzzer:
    """Rounds of one property within ``seconds``; ``rounds`` and ``examples`` count what was done in them."""

    def __init__(self, seconds: float) -> None:
        self.rounds = 0
        self.examples = 0
        self._end = time.perf_counter() + seconds
        self._failed = False

    @property
    def over(self) -> bool:
        """Whether the time is up. Never after a failure: Hypothesis looks for a smaller one then."""
        return not self._failed and time.perf_counter() >= self._end

    def run(self, strategy: SearchStrategy[T], check: Callable[[T], None], *, most: int = 100) -> None:
        """Check ``most`` values a round, each round with another seed, until the time is up."""

        @settings(SETTINGS, max_examples=most)
        @given(strategy)
        def one(value: T) -> None:
            if self.over:
                return
            self.examples += 1
            try:
                check(value)
            except BaseException:
                self._failed = True
                raise

        while not self.over:
            seed(SEED + self.rounds)(one)()
            self.rounds += 1
        log.info("%s: %d examples in %d rounds", check.__qualname__, self.examples, self.rounds)

    def __repr__(self) -> str:
        return f"Fuzzer(rounds={self.rounds}, examples={self.examples})"


@contextmanager
def unharmed(node: Node) -> Iterator[None]:
    """The node lives, answers, has logged no error, and has its memory back at the end."""
    yield
    assert node.running, f"{node.name} ended with {node.returncode}\n{node.tail()}"
    assert get(node.registry, "/v2/").status == 200
    errors = [line for line in node.logs() if line.get("level") in {"error", "critical"}]
    assert not errors, errors[:5]
    assert node.resident() < MEMORY, f"{node.resident() >> 20} MiB resident"


def statuses(answer: bytes) -> list[int]:
    """The statuses in a raw answer: a body could hold what looks like one, ours never do."""
    return [int(found) for found in _STATUS_LINE.findall(answer)]


def send_raw(address: str, data: bytes, *, timeout: float = 20.0) -> bytes:
    """Send bytes, say that there are no more, and read to the end. TimeoutError where that never comes."""
    host, _, port = address.rpartition(":")
    received = bytearray()
    with socket.create_connection((host, int(port)), timeout) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass  # refused without being read to its end: what came before that counts
    return bytes(received)


_DIGESTS = ("sha256:" + "ab" * 32, "sha512:" + "cd" * 64, "sha256:" + "e3b0c44298fc1c14" * 4)
_NAMES = (
    HOSTED,
    f"{HOSTED}/x",
    "app",
    f"{UP}/app",
    "a/manifests",
    "a/tags",
    "A",
    "a..b",
    "",
    "_oci",
    "nonesuch",
)
_PARTS = (
    *("blobs", "manifests", "tags", "list", "referrers", "uploads", "_catalog", "_oci", "ext", "discover"),
    *("_remora", "search", "images"),
    *("..", ".", "%2e%2e", "%2f", "%5c", "%00", "%", "%zz", "%C0%AF", "v1", "\\", "~", ";", "*", "a" * 300),
    *_DIGESTS,
    *("sha256:beef", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../../etc/passwd", "sha256"),
)
_QUERIES = (
    *("n=0", "n=1", "n=-1", "n=99999999999999999999", "n=x", "last=a", "last=%00", "ns=" + UP, "ns=nonesuch"),
    *("ns=169.254.169.254", "ns=localhost:1", "ns=a@b", "artifactType=a/b", "artifactType=%0d%0a", "tag=1"),
    *("digest=" + _DIGESTS[0], "digest=x", "mount=" + _DIGESTS[0], "from=app", "digest-algorithm=sha512"),
    *("q=name:*", 'q="', "q=size:%3E1", "q=size:", "q=NEAR(a", "q=annotation:a=b", "q=%27%3B--+*", "last=9"),
    *("digest-algorithm=md5", "tag=1&tag=2", "tag=..", "&&&", "=", "%", "a=b&" * 70),
)
_METHODS = (
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PRI",
    "get",
    "X" * 40,
)
_HEADERS = (
    *("Host: 127.0.0.1", "Host: evil.example", "Host:", "Content-Length: 0", "Content-Length: 5"),
    *(
        "Content-Length: 99999999999999999999",
        "Content-Length: -1",
        "Content-Length: 5, 5",
        "Content-Length: +5",
    ),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked"),
    *("Transfer-Encoding: identity", "Expect: 100-continue", "Expect: 200-ok", "Connection: close"),
    *("Connection: keep-alive, upgrade", "Upgrade: websocket", "Range: bytes=0-0", "Range: bytes=-1"),
    *("Range: bytes=5-2", "Range: bytes=0-,0-,0-", "Range: lines=1-2", "Range: bytes=" + "1-2," * 200),
    *("Content-Range: 0-4", "Content-Range: bytes 0-4/5", "Content-Range: 9-4", "Content-Range: 7"),
    *(
        "Content-Type: application/vnd.oci.image.manifest.v1+json",
        "Content-Type: a/b; charset=x",
        "Content-Type:",
    ),
    *(
        "Content-Encoding: gzip",
        "Accept: */*",
        "Accept-Encoding: gzip",
        "If-None-Match: *",
        'If-None-Match: "',
    ),
    *(
        "Authorization: Basic !!!",
        "Authorization: Bearer a.b.c",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
    ),
    *("X: " + "y" * 9000, " folded: yes", "no colon", "X: \x00", "X: \xff", ": empty"),
)
_BODIES = (
    *(
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ),
    *(
        b"-5\r\nhello\r\n",
        b"0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"{}",
        b"[" * 100_000,
        b"\x00" * 70_000,
    ),
    b'{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"x","size":-1},"layers":null}',
)


def targets() -> SearchStrategy[str]:
    """Paths and queries made of what has ever been dangerous."""
    shaped = st.builds(
        lambda name, middle, last: f"/v2/{name}/{middle}/{last}",
        st.sampled_from(_NAMES),
        st.sampled_from(("blobs", "manifests", "tags", "referrers", "blobs/uploads")),
        st.sampled_from((*_PARTS, "", "1")),
    )
    wild = st.lists(
        st.sampled_from((*_PARTS, *_NAMES)) | st.text("/%.:_-aA0é\t", max_size=8), max_size=7
    ).map(lambda parts: "/v2/" + "/".join(parts))
    path = (
        shaped
        | wild
        | st.sampled_from(("/", "*", "//", "/v2", "/v1/", "http://127.0.0.1/v2/", "http://", "v2/"))
    )
    query = st.lists(st.sampled_from(_QUERIES), max_size=3).map("&".join)
    return st.builds(lambda p, q: f"{p}?{q}" if q else p, path, query)


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """One to three requests on a connection, sane, odd or broken; at times cut, or with a byte changed."""
    data = b"".join(draw(st.lists(_request(), min_size=1, max_size=3)))
    harm = draw(st.sampled_from(("none", "none", "cut", "flip", "garbage", "tls")))
    if harm == "garbage":
        return draw(st.binary(max_size=200)) + data
    if harm == "tls":
        return b"\x16\x03\x01" + data
    if harm != "none" and data:
        place = draw(st.integers(0, len(data) - 1))
        data = (
            data[:place]
            if harm == "cut"
            else data[:place] + draw(st.binary(min_size=1, max_size=2)) + data[place + 1 :]
        )
    return data


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(_METHODS[:6]) | st.sampled_from(_METHODS))
    target = draw(targets())
    version = draw(
        st.sampled_from(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", ""))
    )
    headers = draw(st.lists(st.sampled_from(_HEADERS), max_size=4))
    if draw(st.booleans()):
        headers.insert(0, _HEADERS[0])
    end = draw(st.sampled_from(("\r\n", "\r\n", "\r\n", "\n")))
    head = end.join((f"{method} {target} {version}", *headers, "", ""))
    return head.encode("latin-1", "replace") + draw(st.sampled_from(_BODIES) | st.binary(max_size=64))
