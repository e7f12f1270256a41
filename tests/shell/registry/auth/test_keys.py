from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import structlog.testing
import trio
import trio.testing
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from p2p.config import ServerLimits
from p2p.errors import ConfigError
from p2p.net.listeners import open_listeners
from p2p.net.message import Content, Request, Response
from p2p.net.server import Server, serve
from p2p.registry.auth import keys as keys_module
from p2p.registry.auth.keys import (
    FETCH_PAUSE,
    MAX_AGE,
    MAX_KEYS,
    MAX_SET_BYTES,
    FileKeys,
    UrlKeys,
    parse_keys,
)
from tests.support.auth_rig import jwk, jwk_set

if TYPE_CHECKING:
    from pathlib import Path


def of(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_reading() -> None:
    found = parse_keys(jwk_set("rsa-1", "ec-1", "ed-1"), "x")
    assert {kid: key.algorithm for kid, key in found.items()} == {
        "rsa-1": "RS256",
        "ec-1": "ES256",
        "ed-1": "EdDSA",
    }
    assert set(
        parse_keys(of(jwk("ec-1", alg="ES256"), {**jwk("ec-1"), "kid": "more", "x5c": ["x"]}), "x")
    ) == {
        "ec-1",
        "more",
    }


def other_jwk(algorithm: str, key: Any) -> dict[str, Any]:
    maker: Any = jwt.get_algorithm_by_name(algorithm)
    return {**maker.to_jwk(key.public_key(), as_dict=True), "kid": "other"}


SMALL = other_jwk("RS256", rsa.generate_private_key(public_exponent=65537, key_size=1024))
P384 = other_jwk("ES384", ec.generate_private_key(ec.SECP384R1()))


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "RS256"},
        jwk("rsa-1", alg="HS256"),
        jwk("rsa-1", alg="none"),
        jwk("rsa-1", alg="RS512"),
        jwk("rsa-1", use="enc"),
        jwk("ec-1", x="AAAA"),
        jwk("ec-1", crv="P-384"),
        jwk("ed-1", crv="Ed448"),
        jwk("ed-1", crv="X25519"),
        jwk("rsa-1", n="!"),
        jwk("rsa-1", n=7),
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {},
        "key",
        None,
        SMALL,
        P384,
    ],
    ids=lambda entry: str(entry)[:60],
)
def test_what_can_t_verify_is_left_out(entry: object) -> None:
    assert set(parse_keys(of(entry, jwk("ec-2")), "x")) == {"ec-2"}


def test_keys_without_an_id_do_not_hide_each_other() -> None:
    first, second = (jwk(kid) for kid in ("ec-1", "ec-2"))
    del first["kid"]
    second["kid"] = ""
    assert len(parse_keys(of(first, second), "x")) == 2


def test_private_parts_are_not_taken_in() -> None:
    algorithm: Any = jwt.get_algorithm_by_name("ES256")
    private = algorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    (key,) = parse_keys(of(private), "x").values()
    assert isinstance(key.key, ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'"keys"',
        b"\xff",
        b"[" * 100_000,
        of(*[{}] * (MAX_KEYS + 1)),
    ],
    ids=lambda data: str(data[:20]),
)
def test_what_is_no_set(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^the set: is not"):
        parse_keys(data, "the set")


async def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(jwk_set("ec-1"))
    keys = FileKeys(path)
    assert await keys.find("ec-1") is not None
    assert await keys.find(None) is not None
    assert await keys.find("ec-2") is None
    with structlog.testing.capture_logs() as logs:
        path.write_bytes(jwk_set("ec-2", "ed-1"))
        assert await keys.find("ec-1") is None, "withdrawn"
        assert await keys.find("ec-2") is not None
        assert await keys.find(None) is None
        path.write_bytes(of())
        assert await keys.find("ec-2") is not None
        path.unlink()
        assert await keys.find("ec-2") is not None
    assert [entry["event"] for entry in logs] == ["keys reloaded"] + [
        "keys not reloaded: those before stay in force"
    ] * 2


@pytest.mark.parametrize("content", [None, b"{", b'{"keys": []}'])
def test_a_start_with_a_bad_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"auth\.jwks .*keys\.json"):
        FileKeys(path)


class Issuer:
    """An https server with a JWK set."""

    def __init__(self) -> None:
        self.answer: Callable[[], Response] = lambda: Response(200, (), Content(jwk_set("ec-1")))
        self.asked = 0
        self.silent = False
        self.url = ""

    def publish(self, *kids: str) -> None:
        self.answer = lambda: Response(200, (), Content(jwk_set(*kids)))

    async def handle(self, request: Request) -> Response:
        self.asked += 1
        if self.silent:
            await trio.sleep_forever()
        return self.answer()


AUTHORITY = trustme.CA()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@asynccontextmanager
async def opened(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Issuer, UrlKeys]]:
    issuer = Issuer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    listeners = await open_listeners("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            lambda task_status: serve(
                issuer.handle, listeners, ServerLimits(drain_timeout=0), tls=context, task_status=task_status
            )
        )
        issuer.url = f"https://{listeners[0].address}/keys"
        keys = UrlKeys(issuer.url, tls or trusting())
        try:
            yield issuer, keys
        finally:
            await keys.aclose()
            server.stop()


async def test_a_set_at_a_url_is_fetched_again_for_an_unknown_key_but_not_too_often(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with opened() as (issuer, keys):
        await keys.load()
        for _ in range(3):
            assert await keys.find("ec-1") is not None
            assert await keys.find("ec-2") is None
        assert issuer.asked == 1
        issuer.publish("ec-1", "ec-2")
        mock_clock.jump(FETCH_PAUSE)
        assert await keys.find("ec-2") is not None
        assert issuer.asked == 2
        for number in range(20):
            assert await keys.find(f"forged-{number}") is None
        assert issuer.asked == 2


async def test_those_who_ask_meanwhile_share_one_fetch(mock_clock: trio.testing.MockClock) -> None:
    async with opened() as (issuer, keys):
        found: list[object] = []

        async def ask() -> None:
            found.append(await keys.find("ec-1"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert len(found) == 10
        assert None not in found
        assert issuer.asked == 1


async def test_withdrawn_keys_go_in_time(mock_clock: trio.testing.MockClock) -> None:
    async with opened() as (issuer, keys):
        await keys.load()
        issuer.publish("ec-2")
        assert await keys.find("ec-1") is not None
        mock_clock.jump(MAX_AGE)
        assert await keys.find("ec-1") is None
        assert issuer.asked == 2


BAD_ANSWERS: list[Callable[[], Response]] = [
    lambda: Response(500),
    lambda: Response(404, (), Content(jwk_set("ec-2"))),
    lambda: Response(302, ((b"Location", b"https://localhost/keys"),)),
    lambda: Response(200, (), Content(b"<html>")),
    lambda: Response(200, (), Content(b" " * (MAX_SET_BYTES + 1))),
]


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_a_failing_issuer_leaves_the_keys_and_a_log_line(
    answer: Callable[[], Response], mock_clock: trio.testing.MockClock
) -> None:
    async with opened() as (issuer, keys):
        await keys.load()
        issuer.answer = answer
        mock_clock.jump(MAX_AGE)
        with structlog.testing.capture_logs() as logs:
            assert await keys.find("ec-1") is not None
            assert await keys.find("ec-1") is not None
        assert issuer.asked == 2
        assert [entry["event"] for entry in logs] == ["keys not fetched: those before stay in force"]


async def test_an_issuer_that_is_not_who_it_says() -> None:
    async with opened(ssl.create_default_context()) as (issuer, keys):
        with structlog.testing.capture_logs() as logs:
            await keys.load()
        assert issuer.asked == 0
        assert len(logs) == 1
        assert await keys.find("ec-1") is None


async def test_an_issuer_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FETCH_TIMEOUT", 0.05)
    async with opened() as (issuer, keys):
        issuer.silent = True
        with structlog.testing.capture_logs() as logs:
            await keys.load()
        assert len(logs) == 1


def test_only_https() -> None:
    for url in ("http://127.0.0.1/keys", "ftp://x/keys", "file:///etc/keys"):
        with pytest.raises(ConfigError, match="not an https URL"):
            UrlKeys(url, ssl.create_default_context())
