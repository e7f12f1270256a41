from __future__ import annotations

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.error import RegistryError
from p2p.net.answers import Dates, error_response, refusal, render_head, unwrap
from p2p.net.errors import BodyError, BodyTooLargeError, ImpossibleResponseError
from p2p.net.message import Content

DATE = (b"Date", b"today")


def parse(data: bytes) -> tuple[h11.Response, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    response, body = connection.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    return response, body


def test_a_head() -> None:
    head = render_head(206, [(b"X-A", b"1"), (b"x-b", b"")], date=DATE, length=12, close=True)
    assert head == (
        b"HTTP/1.1 206 Partial Content\r\nX-A: 1\r\nx-b: \r\nDate: today\r\n"
        b"Content-Length: 12\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_no_length_where_no_body_is(status: int) -> None:
    assert b"Length" not in render_head(status, [], date=DATE, length=12, close=False)


def test_framing_headers_are_the_servers() -> None:
    ours = [(b"Content-Length", b"1"), (b"DATE", b"x"), (b"connection", b"x"), (b"Transfer-encoding", b"x")]
    assert render_head(200, ours, date=DATE, length=2, close=False).count(b"\r\n") == 4


@pytest.mark.parametrize(
    "header",
    [
        (b"X", b"a\r\nY: b"),
        (b"X", b"a\nb"),
        (b"X", b"a\rb"),
        (b"X", b"\0"),
        (b"X\r\nY", b""),
        (b"", b""),
        (b"X:", b""),
        (b"X ", b""),
        (b"X\n", b""),
    ],
)
def test_headers_that_would_not_be_http(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ImpossibleResponseError):
        render_head(200, [header], date=DATE, length=0, close=False)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000])
def test_impossible_statuses(status: int) -> None:
    with pytest.raises(ImpossibleResponseError):
        render_head(status, [], date=DATE, length=0, close=False)


@given(st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=8)), max_size=4))
def test_what_is_rendered_is_read_as_it_was_meant(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        head = render_head(200, headers, date=DATE, length=0, close=False)
    except ImpossibleResponseError:
        return
    headers = [header for header in headers if header[0].lower() != b"date"]  # that one is the server's
    lines = head.split(b"\r\n")
    assert lines[1 : len(headers) + 1] == [b"%b: %b" % header for header in headers]
    assert lines[-2:] == [b"", b""]
    assert len(lines) == len(headers) + 5


def test_a_refusal_is_a_whole_answer() -> None:
    response, body = parse(refusal(431, "too much: é"))
    assert (response.status_code, response.reason) == (431, b"Request Header Fields Too Large")
    assert body.decode() == "too much: é\n"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RegistryError("BLOB_UNKNOWN", "no such blob"), 404, "BLOB_UNKNOWN"),
        (RegistryError("UNAVAILABLE", "the origin fails", status=502), 502, "UNAVAILABLE"),
        (BodyTooLargeError(5), 413, "SIZE_INVALID"),
        (BodyError("body", "broken"), 400, "UNSUPPORTED"),
        (RuntimeError("secret"), 500, "UNKNOWN"),
        (ExceptionGroup("", [RuntimeError("secret"), ValueError()]), 500, "UNKNOWN"),
    ],
)
def test_errors_become_answers(error: Exception, status: int, code: str) -> None:
    response = error_response(error)
    assert response.status == status
    assert isinstance(response.body, Content)
    assert json.loads(response.body.data)["errors"][0]["code"] == code
    assert b"secret" not in response.body.data
    assert response.close == isinstance(error, BodyError)


def test_lone_exceptions_leave_their_groups() -> None:
    lone = ValueError()
    assert unwrap(ExceptionGroup("", [ExceptionGroup("", [lone])])) is lone
    two = ExceptionGroup("", [lone, lone])
    assert unwrap(two) is two


def test_dates() -> None:
    name, value = Dates().header()
    assert name == b"Date"
    assert value.endswith(b" GMT")
    assert len(value) == len(b"Sun, 06 Nov 1994 08:49:37 GMT")
