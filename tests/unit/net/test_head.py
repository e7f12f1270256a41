from __future__ import annotations

import h11
import pytest

from p2p.net.errors import RefusedRequestError
from p2p.net.head import content_length, keeps_alive, make_request, vet
from tests.support.http_rig import NoBody


def parse(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


def head(*lines: str, first: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join((first, "Host: x", *lines, "", "")).encode()


def test_an_ordinary_head_passes() -> None:
    data = head("Accept: */*", "X-Empty:", "Y:  spaced \t")
    vet(parse(data), data, len(data))


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
        vet(parse(data), data, 1000)
    assert caught.value.status == status


def test_a_head_beyond_the_limit() -> None:
    data = head()
    with pytest.raises(RefusedRequestError) as caught:
        vet(parse(data), data, len(data) - 1)
    assert caught.value.status == 431


def test_lengths() -> None:
    assert content_length(parse(head())) == 0
    assert content_length(parse(head("Content-Length: 0012"))) == 12
    assert content_length(parse(head("Content-Length: 5", "Content-Length: 5"))) == 5
    assert content_length(parse(head("Transfer-Encoding: Chunked"))) is None


def test_keeping_alive() -> None:
    assert keeps_alive(parse(head()))
    assert not keeps_alive(parse(head("Connection: x, Close")))
    assert not keeps_alive(parse(head("Connection: keep-alive", first="GET / HTTP/1.0")))


def test_a_request() -> None:
    request = make_request(
        parse(head("X-A: 1", first="PUT /v2/%41?a=1?2 HTTP/1.1")), NoBody(), peer="p", scheme="https"
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
    event = parse(head(first=f"GET {target} HTTP/1.1"))
    request = make_request(event, NoBody(), peer="", scheme="http")
    assert request.path == path
    assert [value for name, value in request.headers if name == b"host"] == [host]


@pytest.mark.parametrize(
    "target", ["x", "x:80", "ftp://x/", "http://", "http:///a", "http://u@x/", "http://x?a/"]
)
def test_targets_that_are_not_paths(target: str) -> None:
    with pytest.raises(RefusedRequestError):
        make_request(parse(head(first=f"GET {target} HTTP/1.1")), NoBody(), peer="", scheme="http")
