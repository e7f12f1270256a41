import pytest

from p2p.errors import OriginProtocolError, OriginUnreachableError
from p2p.origin.exact import open_span
from p2p.origin.ranges import Span
from p2p.origin.session import Ask
from tests.support.upstream import Reply, Request, ranged, upstream

DATA = bytes(range(256)) * 40
ASK = Ask("GET", "/v2/a/blobs/x", "a")


async def fetch(origin, span: Span, *, limit: int = 0) -> tuple[bytes, int]:
    opened = await open_span(origin.session, ASK, span, limit=limit)
    try:
        data = b""
        while part := await opened.body.receive():
            data += part
        return data, opened.size
    finally:
        await opened.body.aclose()


def whole(request: Request) -> Reply:
    return Reply(200, DATA)


def with_ranges(request: Request) -> Reply:
    return ranged(request, DATA)


@pytest.mark.parametrize("script", [whole, with_ranges])
@pytest.mark.parametrize(
    "span", [Span(0), Span(7), Span(0, 10), Span(5, 300), Span(10239), Span(100, 99999), Span(0, 1 << 40)]
)
async def test_spans_with_and_without_ranges(connect, script, span):
    async with upstream(script) as server, connect(server.url()) as origin:
        data, size = await fetch(origin, span)
        assert data == DATA[span.start : span.stop]
        assert size == len(DATA)
        assert len(server.requests) == 1


async def test_connection_is_kept_after_the_last_byte(connect):
    async with upstream(with_ranges) as server, connect(server.url()) as origin:
        for start in range(5):
            await fetch(origin, Span(start, 10))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ((), "without a usable Content-Range"),
        ((("content-range", "bytes 0-9/*"),), "without a usable"),
        ((("content-range", "bytes 1-10/100"),), "was asked for bytes 0 to 10"),
        ((("content-range", "bytes 0-8/100"),), "was asked for"),
        ((("content-range", "bytes 0-9/100"), ("content-encoding", "gzip")), "encoded"),
    ],
)
async def test_wrong_partial_answers(connect, headers, words):
    reply = Reply(206, b"x" * 10, headers)
    async with upstream(lambda r: reply) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match=words):
            await fetch(origin, Span(0, 10))


@pytest.mark.parametrize("size", [9, 11])
async def test_length_must_be_that_of_the_range(connect, size):
    reply = Reply(206, b"x" * size, (("content-range", "bytes 0-9/100"),))
    async with upstream(lambda r: reply) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="for a range of 10"):
            await fetch(origin, Span(0, 10))


async def test_chunked_range_too_long_and_too_short(connect):
    for size, kind in ((9, OriginUnreachableError), (11, OriginProtocolError), (10, None)):
        reply = Reply(206, b"x" * size, (("content-range", "bytes 0-9/100"),), length=None)
        async with upstream(lambda r, reply=reply: reply) as server, connect(server.url()) as origin:
            if kind is None:
                assert await fetch(origin, Span(0, 10)) == (b"x" * 10, 100)
            else:
                with pytest.raises(kind):
                    await fetch(origin, Span(0, 10))


@pytest.mark.parametrize("cut", [0, 1, 5000])
async def test_truncated(connect, cut):
    reply = Reply(200, DATA, length=len(DATA), cut=cut)
    async with upstream(lambda r: reply) as server, connect(server.url()) as origin:
        with pytest.raises(OriginUnreachableError):
            await fetch(origin, Span(0))


async def test_a_partial_answer_that_nobody_asked_for(connect):
    reply = Reply(206, b"x", (("content-range", "bytes 0-0/1"),))
    async with upstream(lambda r: reply) as server, connect(server.url()) as origin:
        with pytest.raises(Exception, match="answered 206"):
            await fetch(origin, Span(0))


async def test_blob_without_a_length_is_measured_by_a_head(connect):
    def script(request: Request) -> Reply:
        return Reply(200, DATA, length=-1 if request.method == "HEAD" else None)

    async with upstream(script) as server, connect(server.url()) as origin:
        assert await fetch(origin, Span(0)) == (DATA, len(DATA))
        assert len(server.asked("HEAD")) == 1


async def test_blob_without_any_length_is_refused(connect):
    async with upstream(lambda r: Reply(200, DATA, length=None)) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="without a Content-Length"):
            await fetch(origin, Span(0))


@pytest.mark.parametrize("wrong", [-1, 1])
async def test_blob_whose_head_lies_about_the_length(connect, wrong):
    def script(request: Request) -> Reply:
        if request.method == "HEAD":
            return Reply(200, length=len(DATA) + wrong)
        return Reply(200, DATA, length=None)

    async with upstream(script) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError if wrong < 0 else OriginUnreachableError):
            await fetch(origin, Span(0))


async def test_manifest_without_a_length_is_read_up_to_the_limit(connect):
    async with upstream(lambda r: Reply(200, DATA, length=None)) as server, connect(server.url()) as origin:
        assert await fetch(origin, Span(0), limit=len(DATA)) == (DATA, len(DATA))
        with pytest.raises(OriginProtocolError, match="more than 100 bytes"):
            await fetch(origin, Span(0), limit=100)
        assert not server.asked("HEAD")


@pytest.mark.parametrize("says_size", [True, False])
async def test_empty_content_of_a_server_that_has_no_such_range(connect, says_size):
    def script(request: Request) -> Reply:
        if "range" in request.headers:
            return Reply(416, headers=(("content-range", "bytes */0"),) if says_size else ())
        return Reply(200)

    async with upstream(script) as server, connect(server.url()) as origin:
        assert await fetch(origin, Span(0, 10)) == (b"", 0)
        assert await fetch(origin, Span(0)) == (b"", 0)


async def test_at_and_behind_the_end(connect):
    async with upstream(with_ranges) as server, connect(server.url()) as origin:
        assert await fetch(origin, Span(len(DATA))) == (b"", len(DATA))
        with pytest.raises(OriginProtocolError, match="was asked for"):
            await fetch(origin, Span(len(DATA) + 1))
    async with upstream(whole) as server, connect(server.url()) as origin:
        assert await fetch(origin, Span(len(DATA))) == (b"", len(DATA))
        with pytest.raises(OriginProtocolError, match="was asked for"):
            await fetch(origin, Span(len(DATA) + 1))
