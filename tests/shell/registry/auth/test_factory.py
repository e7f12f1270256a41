from __future__ import annotations

from typing import TYPE_CHECKING

import bcrypt
import pytest
import structlog.testing
import trustme

from p2p.config import AuthSettings, RuleSettings
from p2p.core.oci.route import parse_route
from p2p.errors import ConfigError
from p2p.net.message import Request, Response
from p2p.registry.auth.api import ANONYMOUS, Principal
from p2p.registry.auth.factory import is_configured, open_guard
from tests.support.auth_rig import AUDIENCE, ISSUER, MemoryAuthenticator, basic, bearer, jwk_set
from tests.support.http_rig import NoBody
from tests.support.registry_rig import header

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.registry.auth.guard import Guard

EVERYTHING = (RuleSettings(repositories=("**",), subjects=("authenticated",), actions=("*",)),)


async def ask(guard: Guard, authorization: str = "") -> Principal | Response:
    headers = ((b"authorization", authorization.encode()),) if authorization else ()
    request = Request("GET", "/v2/a/manifests/1", "", headers, NoBody())
    return await guard.admit(request, parse_route("GET", request.path, ""))


@pytest.fixture
def users(tmp_path: Path) -> str:
    path = tmp_path / "users"
    path.write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    return str(path)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys.json"
    path.write_bytes(jwk_set("ec-1"))
    return str(path)


async def test_nothing_configured() -> None:
    assert not is_configured(AuthSettings())
    async with open_guard(AuthSettings()) as guard:
        assert await ask(guard) == ANONYMOUS


async def test_passwords(users: str) -> None:
    settings = AuthSettings(htpasswd=users, rules=EVERYTHING)
    assert is_configured(settings)
    async with open_guard(settings) as guard:
        assert await ask(guard, basic("alice", "secret")) == Principal("alice")
        answer = await ask(guard)
        assert isinstance(answer, Response)
        assert header(answer, "WWW-Authenticate") == 'Basic realm="remora", charset="UTF-8"'
        answer = await ask(guard, bearer())
        assert isinstance(answer, Response)
        assert answer.status == 401


async def test_passwords_and_tokens(users: str, keys: str) -> None:
    settings = AuthSettings(
        htpasswd=users, jwks=keys, issuer=ISSUER, service=AUDIENCE, realm="https://t/token", rules=EVERYTHING
    )
    async with open_guard(settings) as guard:
        assert await ask(guard, basic("alice", "secret")) == Principal("alice")
        assert await ask(guard, bearer(sub="bob")) == Principal("bob")
        answer = await ask(guard)
        assert isinstance(answer, Response)
        challenge = f'Bearer realm="https://t/token",service="{AUDIENCE}",scope="repository:a:pull"'
        assert header(answer, "WWW-Authenticate") == challenge


async def test_one_from_outside(users: str) -> None:
    settings = AuthSettings(htpasswd=users, rules=EVERYTHING)
    async with open_guard(settings, [MemoryAuthenticator({"carol": "x"})]) as guard:
        assert await ask(guard, basic("carol", "x")) == Principal("carol")
        assert await ask(guard, basic("alice", "secret")) == Principal("alice")


async def test_one_from_outside_alone_guards_too() -> None:
    users = MemoryAuthenticator({"carol": "x"})
    assert is_configured(AuthSettings(), [users])
    async with open_guard(AuthSettings(), [users]) as guard:
        for authorization, status in (("", 401), (basic("carol", "y"), 401), (basic("carol", "x"), 403)):
            answer = await ask(guard, authorization)
            assert isinstance(answer, Response)
            assert answer.status == status, "without rules it can grant nothing, and nobody else gets in"
    async with open_guard(AuthSettings(rules=EVERYTHING), [users]) as guard:
        assert await ask(guard, basic("carol", "x")) == Principal("carol")


async def test_a_url_that_does_not_answer_stops_nothing(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    settings = AuthSettings(jwks="https://127.0.0.1:1/keys", jwks_ca_file=str(authority), issuer=ISSUER)
    with structlog.testing.capture_logs() as logs:
        async with open_guard(settings) as guard:
            answer = await ask(guard, bearer())
    assert isinstance(answer, Response)
    assert answer.status == 401
    assert logs[0]["event"] == "keys not fetched: those before stay in force"


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"htpasswd": "/none"}, r"auth\.rules"),
        ({"htpasswd": "/none", "rules": EVERYTHING}, r"auth\.htpasswd /none"),
        ({"jwks": "/none", "issuer": ISSUER}, r"auth\.jwks /none"),
        ({"jwks": "http://x/keys", "issuer": ISSUER}, "not an https URL"),
        ({"jwks": "https://127.0.0.1:1/keys"}, r"auth\.issuer"),
        ({"jwks": "https://x/keys", "issuer": ISSUER, "jwks_ca_file": "/none"}, r"auth\.jwks_ca_file /none"),
    ],
    ids=str,
)
async def test_what_can_t_work(settings: dict[str, object], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        async with open_guard(AuthSettings(**settings)):  # type: ignore[arg-type]
            raise AssertionError
