from __future__ import annotations

import base64

import pytest

from p2p.registry.auth.basic import MAX_CREDENTIALS, parse_basic
from tests.support.auth_rig import basic


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (basic("a", "b"), ("a", b"b")),
        ("basic " + base64.b64encode(b"a:b").decode(), ("a", b"b")),
        (basic("a", "b:c"), ("a", b"b:c")),
        (basic("é", "ü"), ("é", "ü".encode())),
        ("Basic " + base64.b64encode(b"a:\xff").decode(), ("a", b"\xff")),
        ("Basic " + base64.b64encode(b"\xff:a").decode(), None),
        ("Basic " + base64.b64encode(b"no colon").decode(), None),
        ("Basic ***", None),
        ("Basic YTpi\x80", None),
        ("Basic YTp", None),
        ("Basic", None),
        ("", None),
        ("Bearer YTpi", None),
        (basic("a", "x" * MAX_CREDENTIALS), None),
    ],
)
def test_headers(header: str, credentials: tuple[str, bytes] | None) -> None:
    assert parse_basic(header) == credentials
