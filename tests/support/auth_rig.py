"""An issuer with real keys, and twins of what finds out who a client is."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from p2p.registry.auth.api import ANONYMOUS, Principal
from p2p.registry.auth.basic import parse_basic
from p2p.registry.auth.keys import VerificationKey, parse_keys, pick

ISSUER = "https://tokens.example"
AUDIENCE = "registry.example"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(kid: str) -> PrivateKey:
    """The key of this name, whose kind the name begins with; made once."""
    if kid.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kid.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


def algorithm_of(kid: str) -> str:
    return ALGORITHMS[kid.partition("-")[0]]


def jwk(kid: str, **changes: Any) -> dict[str, Any]:
    algorithm: Any = jwt.get_algorithm_by_name(algorithm_of(kid))
    found: dict[str, Any] = algorithm.to_jwk(private_key(kid).public_key(), as_dict=True)
    found.pop("key_ops", None)
    return {**found, "kid": kid, "use": "sig", **changes}


def jwk_set(*kids: str) -> bytes:
    return json.dumps({"keys": [jwk(kid) for kid in kids]}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token; None takes one away."""
    now = datetime.now(UTC)
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": now + timedelta(minutes=5),
        "nbf": now - timedelta(seconds=1),
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def payload(**changes: Any) -> bytes:
    return json.dumps(claims(**changes), default=lambda moment: int(moment.timestamp())).encode()


def token(kid: str = "ec-1", *, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    headers = {"kid": kid, **(header or {})}
    # The library's own encoder of claims refuses to make bad ones.
    return jwt.PyJWS().encode(payload(**changes), private_key(kid), algorithm_of(kid), headers=headers)


def bearer(kid: str = "ec-1", **changes: Any) -> str:
    return f"Bearer {token(kid, **changes)}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def encoded(document: object) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


class MemoryKeys:
    """Keys that are here."""

    def __init__(self, *kids: str) -> None:
        self.keys: dict[str, VerificationKey] = parse_keys(jwk_set(*kids), "memory")

    async def find(self, kid: str | None) -> VerificationKey | None:
        return pick(self.keys, kid)


@dataclass
class MemoryAuthenticator:
    """Users and passwords in memory."""

    users: dict[str, str] = field(default_factory=lambda: {"alice": "secret", "bob": "hidden"})
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    known: dict[str, Principal] = field(default_factory=dict)
    challenge: str = 'Basic realm="memory"'
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def authenticate(self, authorization: str) -> Principal | None:
        if authorization in self.known:
            return self.known[authorization]
        credentials = parse_basic(authorization)
        if credentials is None:
            return None
        user, password = credentials
        if not user and not password:
            return ANONYMOUS
        if self.users.get(user) != password.decode():
            return None
        return Principal(user, self.groups.get(user, frozenset()))

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        self.asked.append((scope, error))
        return (self.challenge,) if self.challenge else ()
