from __future__ import annotations

import email
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.range import RangeNotSatisfiableError, parse_range
from p2p.net.message import Content, FileSpan, Header, Request, Response, Spans
from p2p.net.ranged import ranged_response
from tests.support.http_rig import NoBody

DATA = bytes(range(256)) * 8


@dataclass
class Source:
    data: bytes = DATA
    closed: int = 0
    open: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def parts(self, start: int, stop: int) -> AsyncIterator[FileSpan | bytes]:
        self.asked.append((start, stop))
        self.open += 1
        try:
            middle = (start + stop) // 2
            yield self.data[start:middle]
            yield self.data[middle:stop]
        finally:
            self.open -= 1

    def close(self) -> None:
        self.closed += 1

    def answer(
        self,
        *headers: Header,
        method: str = "GET",
        extra: tuple[Header, ...] = (),
        boundary: str | None = None,
    ) -> Response:
        request = Request(method, "/", "", headers, NoBody())
        return ranged_response(
            request, len(self.data), extra, self.parts, self.close, content_type="a/b", boundary=boundary
        )


def ranged(text: str) -> Header:
    return (b"range", text.encode())


async def collect(response: Response) -> bytes:
    assert isinstance(response.body, Spans)
    data = b""
    async for part in response.body.parts():
        assert isinstance(part, bytes)
        data += part
    assert len(data) == response.body.length
    return data


def named(response: Response, name: bytes) -> bytes | None:
    return dict(response.headers).get(name)


async def test_the_whole() -> None:
    source = Source()
    response = source.answer(extra=((b"ETag", b'"x"'),))
    assert response.status == 200
    assert named(response, b"Accept-Ranges") == b"bytes"
    assert named(response, b"Content-Type") == b"a/b"
    assert named(response, b"ETag") == b'"x"'
    assert await collect(response) == DATA
    assert isinstance(response.body, Spans)
    assert response.body.close == source.close


async def test_one_range() -> None:
    response = Source().answer(ranged("bytes=2000-5000"))
    assert response.status == 206
    assert named(response, b"Content-Range") == b"bytes 2000-2047/2048"
    assert named(response, b"Content-Type") == b"a/b"
    assert await collect(response) == DATA[2000:]


def test_none_that_can_be_satisfied() -> None:
    source = Source()
    response = source.answer(ranged("bytes=500-0"))
    assert response.status == 416
    assert named(response, b"Content-Range") == b"bytes */2048"
    assert isinstance(response.body, Content)
    assert json.loads(response.body.data)["errors"][0]["code"] == "RANGE_INVALID"
    assert source.closed == 1


async def test_several_ranges() -> None:
    source = Source()
    response = source.answer(ranged("bytes=0-0, 100-199, -3"))
    assert response.status == 206
    assert named(response, b"Content-Range") is None
    content_type = named(response, b"Content-Type")
    assert content_type is not None
    data = await collect(response)
    message = email.message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + data)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [part["Content-Range"] for part in parts] == [
        "bytes 0-0/2048",
        "bytes 100-199/2048",
        "bytes 2045-2047/2048",
    ]
    assert source.asked == [(0, 1), (100, 200), (2045, 2048)]
    assert source.open == 0


def test_equal_requests_get_equal_boundaries() -> None:
    def boundary(text: str) -> bytes | None:
        return named(Source().answer(ranged(text)), b"Content-Type")

    assert boundary("bytes=0-1,5-6") == boundary("bytes=0-1,5-6")
    assert boundary("bytes=0-1,5-6") != boundary("bytes=0-1,5-7")
    given_one = Source().answer(ranged("bytes=0-1,5-6"), boundary="B")
    assert named(given_one, b"Content-Type") == b"multipart/byteranges; boundary=B"


async def test_parts_that_are_left_are_closed() -> None:
    source = Source()
    response = source.answer(ranged("bytes=0-1,5-6"))
    assert isinstance(response.body, Spans)
    parts = response.body.parts()
    await anext(parts)
    await anext(parts)
    assert source.open == 1
    assert hasattr(parts, "aclose")
    await parts.aclose()
    assert source.open == 0


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_ranges_count_on_get_alone(method: str) -> None:
    assert Source().answer(ranged("bytes=0-1"), method=method).status == 200


@pytest.mark.parametrize(
    ("condition", "status"), [(b'"x"', 206), (b'"y"', 200), (b'W/"x"', 200), (b"Sun, 06 Nov 1994", 200)]
)
def test_if_range(condition: bytes, status: int) -> None:
    headers = (ranged("bytes=0-1"), (b"if-range", condition))
    assert Source().answer(*headers, extra=((b"etag", b'"x"'),)).status == status


async def test_an_empty_content() -> None:
    response = Source(b"").answer(ranged("bytes=0-0"))
    assert response.status == 200
    assert isinstance(response.body, Spans)
    assert response.body.length == 0


@given(st.lists(st.tuples(st.integers(0, 2100), st.integers(0, 300)), min_size=1, max_size=6))
async def test_every_answer_has_its_exact_length_and_bytes(ranges: list[tuple[int, int]]) -> None:
    text = "bytes=" + ",".join(f"{start}-{start + more}" for start, more in ranges)
    response = Source().answer(ranged(text))
    try:
        spans = parse_range(text, len(DATA))
    except RangeNotSatisfiableError:
        assert response.status == 416
        return
    data = await collect(response)
    assert response.status == (200 if spans is None else 206)
    for span in spans or ():
        assert DATA[span.start : span.stop] in data
