"""Who gets what of private repositories: every way of asking, with every kind of credentials."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from p2p.config import AuthSettings, PrivateSettings, RuleSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.core.oci.route import parse_route
from p2p.discovery.api import KnownReference
from p2p.errors import ConfigError, OriginUnreachableError
from p2p.origin.api import Kind
from p2p.origin.credentials import Credential
from p2p.registry import guesses, proof
from p2p.registry.auth.api import Grant, Principal
from p2p.registry.auth.chain import NoAuthenticator
from p2p.registry.auth.guard import Guard
from p2p.registry.auth.rules import AccessRules
from p2p.registry.proof import read_credential, wanted_by
from tests.support.auth_rig import MemoryAuthenticator, basic
from tests.support.registry_rig import MemoryOrigin, Rig, at_once, errors, header, read, request

if TYPE_CHECKING:
    from p2p.net.message import Response

SECRET = Repository("test", "org/secret")
OPEN = Repository("test", "org/open")
OWNER = basic("owner", "right")
WRONG = basic("owner", "wrong")
LAYER = b"the secret layer"
DIGEST = Digest.of(LAYER)
MISSING = Digest.of(b"nowhere")
REFUSALS = {"ns": 404, "prefix": 401, "default": 404}


def settings(*shared: str) -> PrivateSettings:
    return PrivateSettings(shared=shared)


def rules(*given: RuleSettings) -> AccessRules:
    return AccessRules.from_settings(AuthSettings(jwks="x", rules=given))


def rule(glob: str, *subjects: str, actions: tuple[str, ...] = ("pull",)) -> RuleSettings:
    return RuleSettings(repositories=(glob,), subjects=subjects, actions=actions)


def rig(*shared: str, guard: Guard | None = None) -> Rig:
    """A node with credentials for ``test``, where ``org/secret`` is private and ``org/open`` is not."""
    made = Rig(private=settings(*shared), guard=guard)
    fill(made.origin)
    return made


def fill(origin: MemoryOrigin) -> None:
    origin.credentials = True
    for path in ("org/secret", "org/open"):
        origin.put_image(path, "1", [LAYER] if path == "org/secret" else [b"an open layer"])
    origin.readers["org/secret"] = {"owner": "right"}


async def ask(
    made: Rig, way: str, path: str, name: str = "org/secret", method: str = "GET", **headers: str
) -> Response:
    """Ask for ``path`` below a repository, in one of the three ways that a request can name its upstream."""
    prefix, query = {"ns": ("", "ns=test"), "prefix": ("test/", ""), "default": ("", "")}[way]
    return await made(method, f"/v2/{prefix}{name}/{path}", query, **headers)


def paths(origin: MemoryOrigin, name: str = "org/secret") -> dict[str, tuple[str, str]]:
    """What can be asked for that is there, and its like that is not."""
    manifest = str(Digest.of(origin.manifests[name, "1"][1]))
    layer = next(str(digest) for path, digest in origin.blobs if path == name)
    return {
        "blob": (f"blobs/{layer}", f"blobs/{MISSING}"),
        "tag": ("manifests/1", "manifests/none"),
        "manifest": (f"manifests/{manifest}", f"manifests/{MISSING}"),
        "tags": ("tags/list", "tags/list"),
        "referrers": (f"referrers/{manifest}", f"referrers/{MISSING}"),
    }


async def warm(made: Rig) -> None:
    """Have all of the private repository here, as after a pull by somebody who may."""
    for (path, digest), data in made.origin.blobs.items():
        if path == "org/secret":
            made.transfer.complete[digest] = data
    data = made.origin.manifests["org/secret", "1"][1]
    made.transfer.complete[Digest.of(data)] = data
    for what in ("tag", "manifest", "blob"):
        path, _ = paths(made.origin)[what]
        response = await ask(made, "prefix", path, authorization=OWNER)
        assert response.status == 200, what
        await read(response)
    made.registry._proof._answers.clear()  # type: ignore[union-attr]
    made.origin.asked.clear()


@dataclass(frozen=True)
class Asked:
    way: str
    what: str
    method: str
    condition: str = ""

    def __str__(self) -> str:
        return f"{self.method}-{self.what}-by-{self.way}{'-304' if self.condition else ''}"


TABLE = [
    Asked(way, what, method, condition)
    for way in REFUSALS
    for what in ("blob", "tag", "manifest", "tags", "referrers")
    for method in ("GET", "HEAD")
    for condition in ("", "*")
    if not (condition and what in ("tags", "referrers"))
    and not (method == "HEAD" and what in ("tags", "referrers"))
]


async def answer(made: Rig, asked: Asked, *, there: bool = True, **headers: str) -> tuple[Any, ...]:
    """Give all that a client sees of an answer."""
    path = paths(made.origin)[asked.what][not there]
    if asked.condition:
        headers["if_none_match"] = asked.condition
    response = await ask(made, asked.way, path, method=asked.method, **headers)
    body = b"" if asked.method == "HEAD" and response.status == 200 else await read(response)
    return response.status, sorted(response.headers), body


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("asked", TABLE, ids=str)
@pytest.mark.parametrize("given", [None, WRONG, basic("owner", ""), "Bearer right", "nonsense"])
async def test_without_proof_nothing_is_told(asked: Asked, given: str | None, cold: bool) -> None:
    made = rig()
    if not cold:
        await warm(made)
    headers = {} if given is None else {"authorization": given}
    there = await answer(made, asked, **headers)
    missing = await answer(made, asked, there=False, **headers)
    assert there[0] == REFUSALS[asked.way]
    # No answer differs between what is there and what is not: status, headers and body.
    assert there == missing
    assert DIGEST.hex not in str(there)
    assert made.registry.statistics.private_refused == 2
    if cold:
        assert not made.origin.calls  # the node's own credentials were of no use to anybody


@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("asked", TABLE, ids=str)
@pytest.mark.parametrize("way_in", ["credentials", "shared"])
async def test_with_proof_all_is_as_ever(asked: Asked, way_in: str, cold: bool) -> None:
    made = rig(*(["test/org/**"] if way_in == "shared" else []))
    headers = {"authorization": OWNER} if way_in == "credentials" else {}
    if not cold:
        await warm(made)
    status, _, body = await answer(made, asked, **headers)
    assert status == (304 if asked.condition else 200)
    if asked.what == "blob" and asked.method == "GET" and not asked.condition:
        assert Digest.of(body) in made.transfer.complete if not cold else body
    status, _, _ = await answer(made, asked, there=False, **headers)
    assert status == (200 if asked.what in ("tags", "referrers") else 404)
    assert made.registry.statistics.private_refused == 0


@pytest.mark.parametrize("asked", TABLE, ids=str)
async def test_public_repositories_of_the_same_upstream_are_for_all(asked: Asked) -> None:
    made = rig()
    there, missing = paths(made.origin, "org/open")[asked.what]
    headers = {"if_none_match": asked.condition} if asked.condition else {}
    response = await ask(made, asked.way, there, "org/open", asked.method, **headers)
    assert response.status == (304 if asked.condition else 200)
    if asked.what in ("blob", "tag", "manifest"):
        assert (await ask(made, asked.way, missing, "org/open", asked.method)).status == 404
    # It was asked about once, and never with anybody's credentials.
    assert [user for *_, user in made.origin.asked] == [""]


async def test_without_credentials_of_the_nodes_nothing_is_asked() -> None:
    made = rig()
    made.origin.credentials = False
    for what in ("tag", "manifest", "blob"):
        path, _ = paths(made.origin, "org/open")[what]
        assert (await ask(made, "ns", path, "org/open")).status == 200
    assert made.origin.asked == []
    before = Rig()
    before.origin.put_image("org/open", "1", [b"an open layer"])
    for what in ("tag", "manifest", "blob"):
        path, _ = paths(before.origin, "org/open")[what]
        assert (await ask(before, "ns", path, "org/open")).status == 200
    # Not a request more than a node that knows nothing of visibility.
    assert made.origin.calls == before.origin.calls
    assert header(await made("GET", "/v2/"), "WWW-Authenticate") is None


# ── credentials of the client's own ────────────────────────────────────────────────────────────────


async def test_the_challenge_names_the_repository_and_the_way_out() -> None:
    response = await ask(rig(), "prefix", "manifests/1")
    assert header(response, "WWW-Authenticate") == 'Basic realm="test/org/secret", charset="UTF-8"'
    (error,) = errors(response)
    assert error["code"] == "UNAUTHORIZED"
    assert "test/org/secret is private" in error["message"]
    assert "Log in" in error["message"]


@pytest.mark.parametrize(
    ("path", "code"),
    [("manifests/1", "MANIFEST_UNKNOWN"), (f"blobs/{DIGEST}", "BLOB_UNKNOWN"), ("tags/list", "NAME_UNKNOWN")],
)
async def test_a_mirror_says_404_in_the_code_of_what_is_unknown(path: str, code: str) -> None:
    response = await ask(rig(), "ns", path)
    assert response.status == 404
    assert [one["code"] for one in errors(response)] == [code]
    assert header(response, "WWW-Authenticate") is None


async def test_v2_tells_that_credentials_may_help() -> None:
    response = await rig()("GET", "/v2/")
    assert response.status == 200
    assert header(response, "WWW-Authenticate") == 'Basic realm="remora", charset="UTF-8"'


async def test_accepted_credentials_are_asked_about_once_in_a_while(autojump_clock: Any) -> None:
    made = rig()

    async def pull(authorization: str) -> int:
        return (await ask(made, "prefix", "manifests/1", authorization=authorization)).status

    for _ in range(3):
        assert await pull(OWNER) == 200
        assert await pull(WRONG) == 401
    assert [user for *_, user in made.origin.asked] == ["", "owner", "owner"]
    made.origin.readers["org/secret"] = {"owner": "wrong"}
    await trio.sleep(proof.REFUSED + 1)
    assert await pull(WRONG) == 200
    assert await pull(OWNER) == 200  # for minutes at most
    await trio.sleep(proof.ACCEPTED)
    assert await pull(OWNER) == 401


async def test_credentials_are_good_for_one_repository() -> None:
    made = rig()
    made.origin.put_image("org/other", "1")
    made.origin.readers["org/other"] = {"somebody": "else"}
    assert (await ask(made, "prefix", "manifests/1", authorization=OWNER)).status == 200
    assert (await ask(made, "prefix", "manifests/1", "org/other", authorization=OWNER)).status == 401


async def test_an_upstream_that_can_not_be_asked_refuses_and_is_asked_again() -> None:
    made = rig()
    assert (await ask(made, "prefix", "manifests/1", authorization=OWNER)).status == 200
    made.registry._proof._answers.clear()  # type: ignore[union-attr]
    made.origin.dark = True
    for _ in range(2):
        assert (await ask(made, "prefix", "manifests/1", authorization=OWNER)).status == 401
    made.origin.dark = False
    assert (await ask(made, "prefix", "manifests/1", authorization=OWNER)).status == 200


async def test_two_headers_prove_nothing() -> None:
    made = rig()
    asked = request("GET", "/v2/test/org/secret/manifests/1", authorization=OWNER)
    asked = replace(asked, headers=(*asked.headers, *asked.headers))
    assert (await made.registry.handle(asked)).status == 401


async def test_neither_credentials_nor_their_plain_hash_are_kept() -> None:
    made = rig()
    assert (await ask(made, "prefix", "manifests/1", authorization=OWNER)).status == 200
    kept = repr(vars(made.registry._proof))
    assert "right" not in kept
    (key,) = made.registry._proof._answers  # type: ignore[union-attr]
    again = rig()
    assert (await ask(again, "prefix", "manifests/1", authorization=OWNER)).status == 200
    assert key not in again.registry._proof._answers  # type: ignore[union-attr]


async def test_many_at_once_ask_once_and_what_is_remembered_has_a_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr(proof, "REMEMBERED", 5)
    made = rig()
    await ask(made, "prefix", "manifests/1")
    made.origin.asked.clear()
    answers = await at_once(10, lambda: ask(made, "prefix", "manifests/1", authorization=OWNER))
    assert {one.status for one in answers} == {200}
    assert len(made.origin.asked) == 1
    for number in range(20):
        guess = basic("owner", f"guess {number}")
        assert (await ask(made, "prefix", "manifests/1", authorization=guess)).status == 401
    assert len(made.registry._proof._answers) == 5  # type: ignore[union-attr]


async def test_a_client_that_guesses_is_not_asked_for_any_more(autojump_clock: Any) -> None:
    made = rig()

    async def guess(authorization: str, peer: str = "10.0.0.1") -> int:
        asked = request("GET", "/v2/test/org/secret/manifests/1", authorization=authorization)
        return (await made.registry.handle(replace(asked, peer=f"{peer}:4242"))).status

    assert await guess(OWNER) == 200
    for number in range(guesses.MOST + 20):
        assert await guess(basic("owner", f"guess {number}")) == 401
    assert len(made.origin.asked) == 2 + guesses.MOST
    # What was accepted is; what is new is refused, though it be right, and only to that client.
    assert await guess(OWNER) == 200
    made.origin.readers["org/secret"]["other"] = "word"
    assert await guess(basic("other", "word")) == 401
    assert await guess(basic("other", "word"), "10.0.0.2") == 200
    await trio.sleep(guesses.WINDOW)
    assert await guess(OWNER) == 200
    made.origin.readers["org/secret"]["third"] = "word"
    assert await guess(basic("third", "word")) == 200


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (OWNER, Credential("owner", "right")),
        (basic("é", "ü"), Credential("é", "ü")),
        (basic("", "x"), None),
        (basic("x", ""), None),
        ("Bearer abc", None),
        ("Basic \x80", None),
        ("Basic YTr/", None),  # a:\xff
        ("", None),
    ],
)
def test_headers(given: str, found: Credential | None) -> None:
    assert read_credential(given) == found


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (f"blobs/{DIGEST}", (Kind.BLOB, str(DIGEST))),
        ("manifests/1", (Kind.MANIFEST, "1")),
        (f"manifests/{DIGEST}", (Kind.MANIFEST, str(DIGEST))),
        (f"referrers/{DIGEST}", (Kind.MANIFEST, str(DIGEST))),
        ("tags/list", None),
    ],
)
def test_what_a_request_wants(path: str, wanted: tuple[Kind, str] | None) -> None:
    assert wanted_by(parse_route("GET", f"/v2/test/org/secret/{path}", "")) == wanted


# ── the front end's own authentication ─────────────────────────────────────────────────────────────

ALICE = basic("alice", "secret")
ADMITTED = [
    # A rule that names the client, whatever its glob.
    ((rule("**", "alice"),), ALICE, True),
    ((rule("**", "@team"),), ALICE, True),
    ((rule("test/org/*", "alice"),), ALICE, True),
    # A rule for everybody, or for whoever logs in, that names the upstream.
    ((rule("test/org/**", "authenticated"),), ALICE, True),
    ((rule("test/**", "anonymous"),), ALICE, True),
    ((rule("test/org/secret", "anonymous"),), None, True),
    # What is open for all says nothing about what is private.
    ((rule("**", "authenticated"),), ALICE, False),
    ((rule("**", "anonymous"),), None, False),
    ((rule("**", "anonymous"),), ALICE, False),
    ((rule("**/secret", "authenticated"),), ALICE, False),
    ((rule("*/org/secret", "anonymous"),), None, False),
    ((rule("te*/org/secret", "anonymous"),), None, False),
    # Nor does a rule about pushes, about others, or about another upstream.
    ((rule("**", "anonymous"), rule("**", "alice", actions=("push",))), ALICE, False),
    ((rule("**", "anonymous"), rule("**", "bob")), ALICE, False),
    ((rule("**", "anonymous"), rule("ghcr.io/**", "anonymous")), None, False),
]


def guard(*given: RuleSettings) -> Guard:
    users = MemoryAuthenticator(groups={"alice": frozenset({"team"})})
    return Guard(users, rules(*given))


@pytest.mark.parametrize("way", ["ns", "prefix"])
@pytest.mark.parametrize(("given", "who", "proven"), ADMITTED)
async def test_rules(given: tuple[RuleSettings, ...], who: str | None, proven: bool, way: str) -> None:
    made = rig(guard=guard(*given))
    headers = {} if who is None else {"authorization": who}
    response = await ask(made, way, "manifests/1", **headers)
    refused = 404 if way == "ns" else 401 if who is None else 403
    assert response.status == (200 if proven else refused)
    # What clients send is for this node: the upstream never sees it.
    assert {user for *_, user in made.origin.asked} == {""}


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ((rule("org/*", "alice"),), 404),
        ((rule("org/*", "alice"), rule("test/org/*", "alice")), 200),
        ((rule("**", "alice"),), 200),
    ],
)
async def test_a_rule_about_hosted_names_is_none_about_the_default_upstream(
    given: tuple[RuleSettings, ...], status: int
) -> None:
    made = rig(guard=guard(*given))
    assert (await ask(made, "default", "manifests/1", authorization=ALICE)).status == status


async def test_a_token_that_names_the_repository_proves_it() -> None:
    grants = (Grant("test/org/secret", frozenset({"pull"})),)  # type: ignore[arg-type]
    given = basic("t", "t")
    users = MemoryAuthenticator(known={given: Principal("", frozenset(), grants)})
    made = rig(guard=Guard(users, AccessRules()))
    assert (await ask(made, "prefix", "manifests/1", authorization=given)).status == 200
    assert (await ask(made, "prefix", "manifests/1", "org/open", authorization=given)).status in (401, 403)


async def test_rules_without_a_way_to_log_in_leave_the_upstreams_credentials_good() -> None:
    access = AccessRules.from_settings(AuthSettings(rules=(rule("**", "anonymous"),)))
    made = rig(guard=Guard(NoAuthenticator(), access))
    assert (await ask(made, "prefix", "manifests/1")).status == 401
    assert (await ask(made, "prefix", "manifests/1", authorization=OWNER)).status == 200


async def test_a_refusal_to_somebody_known_says_what_would_help() -> None:
    made = rig(guard=guard(rule("**", "authenticated")))
    (error,) = errors(await ask(made, "prefix", "manifests/1", authorization=ALICE))
    assert error["code"] == "DENIED"
    assert "private" in error["message"]
    assert "rule" in error["message"]


# ── what is written, and what is hosted ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("given", [None, OWNER])
async def test_the_nodes_credentials_push_for_nobody_who_can_only_read(given: str | None) -> None:
    made = rig()
    headers = {} if given is None else {"authorization": given}
    response = await ask(made, "prefix", "blobs/uploads/", method="POST", **headers)
    assert response.status == 403
    # To what is public pushes go as far as hosting.push_through lets them.
    response = await ask(made, "prefix", "blobs/uploads/", "org/open", "POST")
    assert response.status == 405


async def test_shared_is_shared_for_pushes_too() -> None:
    made = rig("test/**")
    assert (await ask(made, "prefix", "blobs/uploads/", method="POST")).status == 405


def test_globs_are_read_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"private\.shared"):
        rig("test/org**")


# ── one repository's content under another's name ──────────────────────────────────────────────────


async def name_it(made: Rig, path: str) -> str:
    """Push to another repository, at the upstream, a manifest that names the secret layer as its own."""
    foreign = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": str(DIGEST),
        "size": len(LAYER),
        "urls": ["https://example.com/x"],
    }
    made.origin.put_image(path, "thief", [b"own"], foreign=[foreign])
    return "thief"


@pytest.mark.parametrize("first", [True, False], ids=["named-first", "named-later"])
@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
async def test_to_name_a_digest_is_no_proof(first: bool, private: bool) -> None:
    made = rig()
    tag = await name_it(made, "org/thief")
    if private:
        made.origin.readers["org/thief"] = {"thief": "own"}
    headers = {"authorization": basic("thief", "own")} if private else {}
    if first:
        assert (await ask(made, "prefix", f"manifests/{tag}", "org/thief", **headers)).status == 200
    await made.visibility.learn(SECRET)
    await made.confined.begin(SECRET, DIGEST)
    await made.confined.proved(SECRET, DIGEST)
    await warm(made)
    assert (await ask(made, "prefix", f"manifests/{tag}", "org/thief", **headers)).status == 200
    for method in ("GET", "HEAD"):
        response = await ask(made, "prefix", f"blobs/{DIGEST}", "org/thief", method, **headers)
        assert response.status == 404
    assert DIGEST in made.confined
    # Once the upstream says that it has it, it may be had: and where that is public, by everybody.
    made.origin.put_blob("org/thief", LAYER)
    response = await ask(made, "prefix", f"blobs/{DIGEST}", "org/thief", **headers)
    assert (response.status, await read(response)) == (200, LAYER)
    assert (DIGEST in made.confined) is private
    assert (DIGEST in made.moved) is not private


async def test_a_tag_from_peers_is_no_proof_of_what_it_points_to() -> None:
    made = rig()
    data = made.origin.manifests["org/secret", "1"][1]
    secret = Digest.of(data)
    await made.visibility.learn(SECRET)
    await made.visibility.learn(OPEN)
    await made.confined.begin(SECRET, secret)
    await made.confined.proved(SECRET, secret)
    made.transfer.complete[secret] = data
    known = KnownReference(secret, OCI_MANIFEST, len(data), age=1.0)
    for reference in ("lie", str(secret)):
        made.references.known["test/org/open", reference] = known
    made.origin.error = OriginUnreachableError("test", "no connection")
    for reference in ("lie", str(secret)):
        assert (await ask(made, "prefix", f"manifests/{reference}", "org/open")).status == 502


async def test_the_cluster_hears_nothing_of_private_tags_and_is_asked_for_none() -> None:
    made = rig()
    manifest = Digest.of(made.origin.manifests["org/secret", "1"][1])
    for reference in ("1", str(manifest)):
        assert (await ask(made, "prefix", f"manifests/{reference}", authorization=OWNER)).status == 200
        assert (await ask(made, "prefix", f"manifests/{reference}", "org/open")).status in (200, 404)
    assert {repository for repository, *_ in made.references.told} == {"test/org/open"}
    made.origin.error = OriginUnreachableError("test", "no connection")
    made.references.asked = 0
    for reference in ("none", str(MISSING)):
        response = await ask(made, "prefix", f"manifests/{reference}", authorization=OWNER)
        assert response.status == 502
    assert made.references.asked == 0


async def test_hosted_content_asks_nobody() -> None:
    made = rig()
    assert (await made("GET", "/v2/_catalog")).status == 200
    assert made.origin.asked == []
    assert json.loads(await read(await made("GET", "/v2/_catalog"))) == {"repositories": []}
