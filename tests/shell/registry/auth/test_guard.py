from __future__ import annotations

import pytest

from p2p.config import AuthSettings, RuleSettings
from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import parse_route
from p2p.net.message import Content, Request, Response
from p2p.registry.auth.api import ANONYMOUS, Action, Grant, Principal
from p2p.registry.auth.chain import NoAuthenticator
from p2p.registry.auth.guard import Guard
from p2p.registry.auth.rules import AccessRules
from tests.support.auth_rig import MemoryAuthenticator, basic
from tests.support.http_rig import NoBody
from tests.support.registry_rig import errors, header

ALICE = basic("alice", "secret")
BOB = basic("bob", "hidden")
DIGEST = "sha256:" + "0" * 64


def rules(**given: tuple[str, str]) -> AccessRules:
    """Rules as subject = (glob, actions); ``everyone`` is anonymous."""
    settings = tuple(
        RuleSettings(
            repositories=(glob,),
            subjects=("anonymous" if who == "everyone" else who,),
            actions=tuple(actions.split()),
        )
        for who, (glob, actions) in given.items()
    )
    return AccessRules.from_settings(AuthSettings(jwks="x", rules=settings))


class Door:
    """A guard with users in memory."""

    def __init__(self, access: AccessRules, users: MemoryAuthenticator | None = None) -> None:
        self.users = users or MemoryAuthenticator()
        self.guard = Guard(self.users, access)

    async def __call__(
        self, method: str, path: str, *authorization: str, query: str = ""
    ) -> Principal | Response:
        headers = tuple((b"authorization", one.encode("latin-1")) for one in authorization)
        request = Request(method, f"/v2/{path}", query, headers, NoBody())
        return await self.guard.admit(request, parse_route(method, request.path, query))


def refused(answer: Principal | Response, status: int, code: str) -> Response:
    assert isinstance(answer, Response)
    assert answer.status == status
    assert [one["code"] for one in errors(answer)] == [code]
    assert header(answer, "Content-Type") == "application/json"
    assert header(answer, "Docker-Distribution-API-Version") == "registry/2.0"
    assert (header(answer, "WWW-Authenticate") is not None) == (status == 401)
    return answer


async def test_no_authentication_everybody_may_all() -> None:
    guard = Guard(NoAuthenticator(), AccessRules.from_settings(AuthSettings()))
    for method, path in (
        ("GET", ""),
        ("PUT", "a/manifests/1"),
        ("DELETE", "a/manifests/1"),
        ("GET", "_catalog"),
    ):
        for headers in ((), ((b"authorization", b"Basic whatever"),)):
            request = Request(method, f"/v2/{path}", "", headers, NoBody())
            assert await guard.admit(request, parse_route(method, request.path, "")) == ANONYMOUS


async def test_rules_without_authentication_make_it_read_only() -> None:
    access = AccessRules.from_settings(
        AuthSettings(rules=(RuleSettings(repositories=("**",), subjects=("anonymous",)),))
    )
    guard = Guard(NoAuthenticator(), access)
    for method, status in (("GET", None), ("PUT", 403)):
        request = Request(method, "/v2/a/manifests/1", "", (), NoBody())
        answer = await guard.admit(request, parse_route(method, request.path, ""))
        assert answer == ANONYMOUS if status is None else refused(answer, status, "DENIED")
    request = Request("GET", "/v2/", "", (), NoBody())
    assert await guard.admit(request, parse_route("GET", "/v2/", "")) == ANONYMOUS


async def test_the_greeting_where_anonymous_may_nothing() -> None:
    door = Door(rules(alice=("**", "pull")))
    for method in ("GET", "HEAD"):
        answer = refused(await door(method, ""), 401, "UNAUTHORIZED")
        assert header(answer, "WWW-Authenticate") == 'Basic realm="memory"'
    refused(await door("GET", "_oci/ext/discover"), 401, "UNAUTHORIZED")
    refused(await door("GET", "", basic("alice", "wrong")), 401, "UNAUTHORIZED")
    assert await door("GET", "", ALICE) == Principal("alice")
    refused(await door("GET", "_remora/search/images"), 401, "UNAUTHORIZED")
    assert await door("GET", "_remora/search/images", BOB) == Principal("bob"), "who is told what he may pull"
    assert await door("GET", "", BOB) == Principal("bob"), "a login is right though no rule is for it"


async def test_the_greeting_where_anonymous_may_something() -> None:
    door = Door(rules(everyone=("public/**", "pull"), alice=("**", "push")))
    answer = await door("GET", "")
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (200, Content(b"{}"))
    assert header(answer, "WWW-Authenticate") == 'Basic realm="memory"', (
        "clients learn here that they can log in"
    )
    assert await door("GET", "_oci/ext/discover") == ANONYMOUS
    assert await door("GET", "", ALICE) == Principal("alice")
    refused(await door("GET", "", basic("alice", "wrong")), 401, "UNAUTHORIZED")


async def test_anonymous_is_asked_to_log_in_and_others_are_denied() -> None:
    door = Door(rules(alice=("team-a/*", "pull push"), everyone=("public/*", "pull")))
    assert await door("GET", "public/x/manifests/1") == ANONYMOUS
    assert await door("GET", "team-a/x/manifests/1", ALICE) == Principal("alice")
    assert await door("PUT", "team-a/x/manifests/1", ALICE) == Principal("alice")
    refused(await door("GET", "team-a/x/manifests/1"), 401, "UNAUTHORIZED")
    assert door.users.asked[-1] == ("repository:team-a/x:pull", "")
    refused(await door("PUT", "public/x/manifests/1"), 401, "UNAUTHORIZED")
    assert door.users.asked[-1] == ("repository:public/x:pull,push", "")
    answer = refused(await door("DELETE", "team-a/x/manifests/1", ALICE), 403, "DENIED")
    assert errors(answer)[0]["detail"] == {"name": "team-a/x", "action": "delete"}
    refused(await door("GET", "team-a/x/manifests/1", BOB), 403, "DENIED")
    refused(await door("POST", "team-a/x/blobs/uploads/", BOB), 403, "DENIED")
    refused(await door("GET", "_catalog", ALICE), 403, "DENIED")


@pytest.mark.parametrize(
    "authorization",
    [
        (basic("alice", "wrong"),),
        (basic("eve", "secret"),),
        ("Basic ***",),
        ("Negotiate x",),
        ("",),
        ("\xff" * 100,),
        ("Basic " + "A" * 30_000,),
        (ALICE, BOB),
        (ALICE, ALICE),
    ],
)
async def test_wrong_credentials_are_401_even_where_none_would_do(authorization: tuple[str, ...]) -> None:
    door = Door(rules(everyone=("**", "*")))
    answer = refused(await door("GET", "a/manifests/1", *authorization), 401, "UNAUTHORIZED")
    assert door.users.asked[-1] == ("repository:a:pull", "invalid_token")
    assert isinstance(answer.body, Content)
    assert b"alice" not in answer.body.data
    assert b"eve" not in answer.body.data


async def test_known_and_unknown_users_get_the_same_answer() -> None:
    door = Door(rules(alice=("**", "*")))
    assert await door("GET", "a/manifests/1", basic("alice", "x")) == await door(
        "GET", "a/manifests/1", basic("eve", "x")
    )


async def test_empty_credentials_are_none() -> None:
    door = Door(rules(everyone=("public/*", "pull")))
    assert await door("GET", "public/x/manifests/1", basic("", "")) == ANONYMOUS
    refused(await door("GET", "x/manifests/1", basic("", "")), 401, "UNAUTHORIZED")


def with_token(*grants: Grant, name: str = "alice") -> MemoryAuthenticator:
    return MemoryAuthenticator(known={"Bearer t": Principal(name, grants=grants)})


async def test_a_token_that_is_too_narrow_is_asked_to_be_widened() -> None:
    grant = Grant("team-a/x", frozenset({Action.PULL}))
    door = Door(rules(alice=("team-a/*", "pull push")), with_token(grant))
    assert isinstance(await door("GET", "team-a/x/manifests/1", "Bearer t"), Principal)
    refused(await door("PUT", "team-a/x/manifests/1", "Bearer t"), 401, "UNAUTHORIZED")
    assert door.users.asked[-1] == ("repository:team-a/x:pull,push", "insufficient_scope")
    refused(await door("GET", "team-b/x/manifests/1", "Bearer t"), 403, "DENIED")
    refused(await door("DELETE", "team-a/x/manifests/1", "Bearer t"), 403, "DENIED")


async def test_a_token_without_a_name_and_without_rules() -> None:
    door = Door(
        AccessRules.from_settings(AuthSettings(jwks="x")), with_token(Grant("a", frozenset(Action)), name="")
    )
    for method, path in (("GET", ""), ("DELETE", "a/manifests/1")):
        assert isinstance(await door(method, path, "Bearer t"), Principal)
    refused(await door("GET", "b/manifests/1", "Bearer t"), 401, "UNAUTHORIZED")
    refused(await door("GET", "a/manifests/1"), 401, "UNAUTHORIZED")


async def test_an_upstream_s_namespace_is_part_of_the_name() -> None:
    door = Door(rules(alice=("team-a/**", "pull"), bob=("ghcr.io/team-a/*", "pull")))
    refused(await door("GET", "team-a/x/manifests/1", ALICE, query="ns=ghcr.io"), 403, "DENIED")
    assert await door("GET", "team-a/x/manifests/1", BOB, query="ns=ghcr.io") == Principal("bob")
    assert await door("GET", "ghcr.io/team-a/x/manifests/1", BOB) == Principal("bob")
    assert await door("GET", "ghcr.io/team-a/x/manifests/1", BOB, query="ns=ghcr.io") == Principal("bob")
    refused(await door("GET", "team-a/x/manifests/1", BOB), 403, "DENIED")


async def test_the_source_of_a_mount_is_asked_for_and_left_to_the_front_end() -> None:
    door = Door(rules(alice=("team-a/*", "pull push")))
    query = f"mount={DIGEST}&from=secret/x"
    principal = await door("POST", "team-a/y/blobs/uploads/", ALICE, query=query)
    assert principal == Principal("alice")
    assert not door.guard.may(principal, "secret/x", Action.PULL)
    assert door.guard.may(principal, "team-a/z", Action.PULL)
    refused(await door("POST", "team-a/y/blobs/uploads/", query=query), 401, "UNAUTHORIZED")
    assert door.users.asked[-1][0] == "repository:team-a/y:pull,push repository:secret/x:pull"


@pytest.mark.parametrize("path", ["team-a/..%2fsecret/manifests/1", "team-a/../secret/x/manifests/1"])
async def test_traversal_never_comes_to_the_rules(path: str) -> None:
    door = Door(rules(alice=("team-a/**", "*")))
    with pytest.raises(RegistryError, match="NAME_INVALID"):
        await door("GET", path, ALICE)
