from __future__ import annotations

import hashlib
import hmac
import json
import warnings
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import ConfigError
from p2p.registry.auth.api import Action, Grant, Principal
from p2p.registry.auth.bearer import LEEWAY, MAX_TOKEN, BearerAuthenticator
from p2p.registry.auth.keys import parse_keys
from tests.support.auth_rig import (
    AUDIENCE,
    ISSUER,
    MemoryKeys,
    algorithm_of,
    bearer,
    claims,
    encoded,
    jwk_set,
    payload,
    private_key,
    token,
)


def authenticator(*kids: str, **settings: str) -> BearerAuthenticator:
    given_settings = {"issuer": ISSUER, "audience": AUDIENCE, "service": AUDIENCE, **settings}
    return BearerAuthenticator(MemoryKeys(*(kids or ("ec-1", "rsa-1", "ed-1"))), **given_settings)


def encoded_claims() -> str:
    return urlsafe_b64encode(payload()).rstrip(b"=").decode()


def at(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize("kid", ["ec-1", "rsa-1", "ed-1"])
async def test_a_good_token(kid: str) -> None:
    assert await authenticator().authenticate(bearer(kid)) == Principal("alice")


async def test_claims_are_read() -> None:
    access = [{"type": "repository", "name": "a", "actions": ["pull"]}]
    principal = await authenticator().authenticate(bearer(groups=["g"], access=access))
    assert principal == Principal("alice", frozenset({"g"}), (Grant("a", frozenset({Action.PULL})),))


async def test_the_scheme_in_any_case_and_a_single_key_without_kid() -> None:
    assert await authenticator().authenticate(f"bEARER  {token()} ") is not None
    plain = jwt.encode(claims(), private_key("ec-1"), "ES256")
    assert await authenticator("ec-1").authenticate(f"Bearer {plain}") is not None
    assert await authenticator("ec-1", "ec-2").authenticate(f"Bearer {plain}") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"iss": ISSUER + "/"},
        {"iss": [ISSUER]},
        {"aud": "other.example"},
        {"aud": None},
        {"aud": []},
        {"aud": ["other.example", AUDIENCE + "x"]},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"nbf": "later"},
        {"sub": None},
        {"sub": 7},
        {"access": "*"},
        {"groups": "admins"},
    ],
    ids=str,
)
async def test_claims_that_do_not_fit(changes: dict[str, Any]) -> None:
    assert await authenticator().authenticate(bearer(**changes)) is None


async def test_time() -> None:
    one = authenticator()
    assert await one.authenticate(bearer(exp=at(-LEEWAY - 2))) is None
    assert await one.authenticate(bearer(exp=at(-LEEWAY / 2))) is not None
    assert await one.authenticate(bearer(nbf=at(LEEWAY + 60))) is None
    assert await one.authenticate(bearer(nbf=at(LEEWAY / 2))) is not None
    assert await one.authenticate(bearer(aud=["x", AUDIENCE])) is not None


async def test_algorithm_none() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        head = encoded({"alg": algorithm, "typ": "JWT", "kid": "ec-1"})
        body = encoded_claims()
        signature = token().rpartition(".")[2]
        for forged in (f"{head}.{body}.", f"{head}.{body}", f"{head}.{body}.{signature}"):
            assert await authenticator().authenticate(f"Bearer {forged}") is None


@pytest.mark.parametrize("kid", ["ec-1", "rsa-1", "ed-1"])
async def test_the_public_key_is_no_shared_secret(kid: str) -> None:
    """CVE-2015-9235, CVE-2022-29217: a MAC keyed with what everybody knows."""
    public = private_key(kid).public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        jwk_set(kid),
        b"",
    ]
    for secret in secrets:
        signed = f"{encoded({'alg': 'HS256', 'kid': kid})}.{encoded_claims()}"
        mac = urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
        assert await authenticator().authenticate(f"Bearer {signed}.{mac}") is None


@pytest.mark.parametrize("kid", ["ec-2", "rsa-2", "ed-2"])
async def test_a_foreign_key(kid: str) -> None:
    assert await authenticator().authenticate(bearer(kid)) is None
    for pretended in ("ec-1", "rsa-1", "ed-1", "", None, 7, ["ec-1"]):
        signed = f"{encoded({'alg': algorithm_of(kid), 'kid': pretended})}.{encoded_claims()}"
        signer: Any = jwt.get_algorithm_by_name(algorithm_of(kid))
        signature = urlsafe_b64encode(signer.sign(signed.encode(), private_key(kid))).rstrip(b"=").decode()
        assert await authenticator().authenticate(f"Bearer {signed}.{signature}") is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"alg": "ES384"},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/keys"},
        {"kid": "../../etc/passwd"},
    ],
    ids=str,
)
async def test_headers_that_ask_for_something_else(header: dict[str, Any]) -> None:
    """The signature does not hold for a changed header; those that are signed are in the tests above."""
    _, body, signature = token("rsa-1").split(".")
    forged = f"{encoded({'alg': 'RS256', 'kid': 'rsa-1', **header})}.{body}.{signature}"
    assert await authenticator().authenticate(f"Bearer {forged}") is None


async def test_a_key_in_the_token_s_own_header_is_not_believed() -> None:
    foreign = json.loads(jwk_set("ec-2"))["keys"][0]
    forged = bearer("ec-2", header={"jwk": foreign, "kid": "ec-1"})
    assert await authenticator().authenticate(forged) is None


async def test_another_algorithm_of_the_right_key() -> None:
    for algorithm in ("RS512", "PS256"):
        other = jwt.encode(claims(), private_key("rsa-1"), algorithm, headers={"kid": "rsa-1"})
        assert await authenticator().authenticate(f"Bearer {other}") is None


async def test_another_body() -> None:
    head, _, signature = token().split(".")
    body = urlsafe_b64encode(payload(sub="root")).rstrip(b"=").decode()
    assert await authenticator().authenticate(f"Bearer {head}.{body}.{signature}") is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a.b",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer .....",
        "Bearer =.=.=",
        "Bearer \xff.\xff.\xff",
        "Bearer eyJ.eyJ.eyJ",
        "Basic YTpi",
        "Bearer " + "a" * (MAX_TOKEN + 1),
        "Bearer " + "[" * 4000,
        "Bearer " + encoded([1]) + "." + encoded({}) + ".x",
    ],
)
async def test_malformed(header: str) -> None:
    assert await authenticator().authenticate(header) is None


async def test_a_header_of_deeply_nested_json() -> None:
    deep = urlsafe_b64encode(b'{"alg":' + b"[" * 9000).decode().rstrip("=")
    assert await authenticator().authenticate(f"Bearer {deep}.x.x") is None


async def test_a_token_that_is_good_but_too_long() -> None:
    assert await authenticator().authenticate(bearer(padding="x" * MAX_TOKEN)) is None


@given(st.text(max_size=60))
async def test_no_header_raises(text: str) -> None:
    one = authenticator("ec-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await one.authenticate(text) is None
        assert await one.authenticate(f"Bearer {text}") is None
        assert (
            await one.authenticate(f"Bearer {encoded({'alg': text, 'kid': text})}.{encoded(text)}.x") is None
        )


def test_challenges() -> None:
    service = authenticator(realm="https://tokens.example/token")
    (challenge,) = service.challenges("repository:a:pull,push", "invalid_token")
    assert challenge == (
        f'Bearer realm="https://tokens.example/token",service="{AUDIENCE}",'
        'scope="repository:a:pull,push",error="invalid_token"'
    )
    assert authenticator().challenges("") == (f'Bearer service="{AUDIENCE}"',)


@pytest.mark.parametrize("setting", ["issuer", "audience"])
def test_tokens_for_or_from_anybody_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=rf"auth\.{setting}"):
        authenticator(**{setting: ""})


def test_a_realm_that_can_t_be_quoted() -> None:
    with pytest.raises(ConfigError, match=r"auth\.realm"):
        authenticator(realm='https://x/"')


def test_the_rig_s_keys_are_good() -> None:
    assert set(parse_keys(jwk_set("ec-1", "rsa-1", "ed-1"), "x")) == {"ec-1", "rsa-1", "ed-1"}
