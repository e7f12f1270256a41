from __future__ import annotations

import pytest

from p2p.core.oci.error import RegistryError
from p2p.net.hosts import LOOPBACK_HOSTS, guard_hosts, host_name
from p2p.net.message import Content, Request, Response
from tests.support.http_rig import NoBody


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:5000", "localhost"),
        ("127.0.0.1:5000", "127.0.0.1"),
        ("[::1]:5000", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("node.example.", "node.example"),
        ("node:", "node"),
        ("", ""),
    ],
)
def test_names(value: str, name: str) -> None:
    assert host_name(value) == name


async def ask(*headers: tuple[bytes, bytes]) -> int:
    async def handler(request: Request) -> Response:
        return Response(200, (), Content(b"in"))

    guarded = guard_hosts(handler, (*LOOPBACK_HOSTS, "Node1:5000"))
    try:
        return (await guarded(Request("GET", "/", "", headers, NoBody()))).status
    except RegistryError as error:
        return error.status if error.code == "DENIED" else 0


@pytest.mark.parametrize("host", [b"localhost", b"localhost:5000", b"127.0.0.1:1", b"[::1]:5000", b"node1"])
async def test_ours(host: bytes) -> None:
    assert await ask((b"host", host)) == 200


@pytest.mark.parametrize(
    "host", [b"evil.example", b"localhost.evil.example", b"127.0.0.2", b"", b"\xff", b"user@localhost:x"]
)
async def test_others(host: bytes) -> None:
    assert await ask((b"host", host)) == 421


async def test_http_1_0_has_none() -> None:
    assert await ask() == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"origin", b"http://localhost:5000"), 200),
        ((b"origin", b"http://evil.example"), 403),
        ((b"origin", b"null"), 403),
        ((b"sec-fetch-site", b"cross-site"), 403),
        ((b"sec-fetch-site", b"same-origin"), 200),
        ((b"sec-fetch-site", b"none"), 200),
    ],
)
async def test_pages_of_other_sites(header: tuple[bytes, bytes], status: int) -> None:
    assert await ask((b"host", b"localhost"), header) == status
