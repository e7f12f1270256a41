from __future__ import annotations

from p2p.net.message import Content, Request, Response
from tests.support.http_rig import NoBody


def test_the_first_header_of_a_name() -> None:
    request = Request("GET", "/", "", ((b"x", b"1"), (b"x", b"2"), (b"y", b"\xe9")), NoBody())
    assert request.header(b"x") == "1"
    assert request.header(b"y") == "é"
    assert request.header(b"z") is None


def test_contents_know_their_length() -> None:
    assert Content(b"abc").length == 3
    assert Response(200).body == Content()
