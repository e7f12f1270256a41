import json

import pytest
import trio
import trio.testing

from p2p.errors import OriginDeniedError, OriginLimitedError, OriginProtocolError
from p2p.origin.credentials import Credential
from p2p.origin.tokens import MAX_TOKENS, RealmAnswer, TokenCache, Want

WANT = Want("https://auth.example/token?x=1", "svc", "repository:a/b:pull")


class Realm:
    def __init__(self, *answers: RealmAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.gate: trio.Event | None = None

    async def __call__(self, method, url, headers, body):
        self.asked.append((method, url, dict(headers), body))
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if self.answers:
            return self.answers.pop(0)
        return token(f"t{len(self.asked)}")


def token(text: str, **more: object) -> RealmAnswer:
    return RealmAnswer(200, json.dumps({"token": text, **more}).encode())


async def test_kept_until_shortly_before_its_end(autojump_clock: trio.testing.MockClock):
    realm = Realm(token("one", expires_in=300))
    cache = TokenCache("up", realm)
    assert await cache.get(WANT) == "one"
    autojump_clock.jump(289)
    assert await cache.get(WANT) == "one"
    autojump_clock.jump(2)
    assert await cache.get(WANT) == "t2"


async def test_sixty_seconds_where_nothing_is_said(autojump_clock: trio.testing.MockClock):
    cache = TokenCache("up", Realm())
    assert await cache.get(WANT) == "t1"
    autojump_clock.jump(49)
    assert await cache.get(WANT) == "t1"
    autojump_clock.jump(2)
    assert await cache.get(WANT) == "t2"


async def test_one_fetch_for_all_who_wait():
    realm = Realm()
    realm.gate = trio.Event()
    cache = TokenCache("up", realm)
    got: list[str] = []

    async def ask() -> None:
        got.append(await cache.get(WANT))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        realm.gate.set()
    assert got == ["t1"] * 50
    assert len(realm.asked) == 1


async def test_the_first_asker_may_leave():
    realm = Realm()
    realm.gate = trio.Event()
    cache = TokenCache("up", realm)
    got: list[str] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await cache.get(WANT))

    scopes = [trio.CancelScope(), trio.CancelScope()]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, scopes[0])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, scopes[1])
        await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        realm.gate.set()
    assert got == ["t2"]


async def test_query_and_basic():
    realm = Realm()
    cache = TokenCache("up", realm)
    await cache.get(WANT)
    method, url, headers, _ = realm.asked[0]
    assert method == "GET"
    assert url == "https://auth.example/token?x=1&service=svc&scope=repository%3Aa%2Fb%3Apull"
    assert "Authorization" not in headers
    await cache.get(Want("https://a/", "", "x:y:z p:q:r", Credential("u", "p")))
    _, url, headers, _ = realm.asked[1]
    assert url == "https://a/?scope=x%3Ay%3Az&scope=p%3Aq%3Ar&account=u"
    assert headers["Authorization"] == "Basic dTpw"


async def test_identity_token_is_posted():
    realm = Realm(RealmAnswer(200, b'{"access_token":"acc"}'))
    cache = TokenCache("up", realm)
    assert await cache.get(Want("https://a/t", "svc", "s", Credential(identity_token="id t"))) == "acc"
    method, url, headers, body = realm.asked[0]
    assert (method, url) == ("POST", "https://a/t")
    assert b"grant_type=refresh_token" in body
    assert b"refresh_token=id+t" in body
    assert "Authorization" not in headers


async def test_a_refused_token_is_fetched_anew():
    cache = TokenCache("up", Realm())
    assert await cache.get(WANT) == "t1"
    assert await cache.get(WANT, refused="t1") == "t2"
    assert await cache.get(WANT, refused="t1") == "t2"


async def test_other_scope_or_credential_is_another_token():
    cache = TokenCache("up", Realm())
    assert await cache.get(WANT) == "t1"
    assert await cache.get(Want(WANT.realm, "svc", "repository:c:pull")) == "t2"
    assert await cache.get(Want(WANT.realm, "svc", WANT.scope, Credential("u", "p"))) == "t3"


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_refusals_name_the_user_and_the_mend(status):
    cache = TokenCache("up", Realm(RealmAnswer(status, b"")))
    with pytest.raises(OriginDeniedError, match=r"user bob.*docker login"):
        await cache.get(Want("https://a/", "", "s", Credential("bob", "p")))


async def test_limited_realm():
    with pytest.raises(OriginLimitedError) as caught:
        await TokenCache("up", Realm(RealmAnswer(429, b"", 7.0))).get(WANT)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"{", b'{"token":""}', b'{"token":7}', b'{"token":"a\\nb"}', b'{"token":"\xc3\xa9"}',
     b'{"token":"' + b"x" * 40000 + b'"}', b"[" * 200000, b'{"token":"x","expires_in":"soon"}', b"\xff"],
)  # fmt: skip
async def test_nonsense_is_refused(body):
    with pytest.raises(OriginProtocolError):
        await TokenCache("up", Realm(RealmAnswer(200, body))).get(WANT)


@pytest.mark.parametrize("expires", [-5, 0, 1e300, "300", None])
async def test_odd_lifetimes_are_borne(expires):
    assert await TokenCache("up", Realm(token("t", expires_in=expires))).get(WANT) == "t"


async def test_bounded():
    cache = TokenCache("up", Realm())
    for number in range(MAX_TOKENS + 10):
        await cache.get(Want("https://a/", "", f"repository:{number}:pull"))
    assert len(cache._slots) == MAX_TOKENS
