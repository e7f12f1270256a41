from __future__ import annotations

import h11
import pytest

from p2p.net.errors import RefusedRequestError
from p2p.net.head import Head, make_request, read_head
from tests.support.http_rig import NoBody


def parse(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


def read(data: bytes) -> Head:
    return read_head(parse(data), data, 1000)


def head(*lines: str, first: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join((first, "Host: x", *lines, "", "")).encode()


def test_an_ordinary_head_passes() -> None:
    data = head("Accept: */*", "X-Empty:", "Y:  spaced \t")
    assert read(data).length == 0
    read_head(parse(data), data, len(data))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head("A: b", " c"), 400),
        (head("A: b\n\tc"), 400),
        (head("A: b\nC: d"), 400),
        (head("Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (head("Content-Length: " + "1" * 19), 413),
        (head(first="GET / HTTP/1.2"), 505),
        (head("Transfer-Encoding: chunked", first="GET / HTTP/1.0"), 400),
    ],
)
def test_refused(data: bytes, status: int) -> None:
    with pytest.raises(RefusedRequestError) as caught:
        read(data)
    assert caught.value.status == status


def test_a_head_beyond_the_limit() -> None:
    data = head()
    with pytest.raises(RefusedRequestError) as caught:
        read_head(parse(data), data, len(data) - 1)
    assert caught.value.status == 431


def test_lengths() -> None:
    assert read(head()).length == 0
    assert read(head("Content-Length: 0012")).length == 12
    assert read(head("Content-Length: 5", "Content-Length: 5")).length == 5
    assert read(head("Transfer-Encoding: Chunked")).length is None


def test_keeping_alive() -> None:
    assert read(head()).keep_alive
    assert not read(head("Connection: x, Close")).keep_alive
    assert not read(head("Connection: keep-alive", first="GET / HTTP/1.0")).keep_alive


def test_a_request() -> None:
    request = make_request(
        read(head("X-A: 1", first="PUT /v2/%41?a=1?2 HTTP/1.1")), NoBody(), peer="p", scheme="https"
    )
    assert (request.method, request.path, request.query) == ("PUT", "/v2/%41", "a=1?2")
    assert (request.peer, request.scheme) == ("p", "https")
    assert request.headers == ((b"host", b"x"), (b"x-a", b"1"))


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://other:1/a?b", "/a", b"other:1"),
        ("HTTPS://other", "/", b"other"),
        ("*", "*", b"x"),
        ("//other/a", "//other/a", b"x"),
    ],
)
def test_targets(target: str, path: str, host: bytes) -> None:
    vetted = read(head(first=f"GET {target} HTTP/1.1"))
    request = make_request(vetted, NoBody(), peer="", scheme="http")
    assert request.path == path
    assert [value for name, value in request.headers if name == b"host"] == [host]


@pytest.mark.parametrize(
    "target", ["x", "x:80", "ftp://x/", "http://", "http:///a", "http://u@x/", "http://x?a/"]
)
def test_targets_that_are_not_paths(target: str) -> None:
    with pytest.raises(RefusedRequestError):
        make_request(read(head(first=f"GET {target} HTTP/1.1")), NoBody(), peer="", scheme="http")
