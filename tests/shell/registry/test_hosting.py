"""The writing half as a whole: it runs, and it says what it does not do."""

from __future__ import annotations

import pytest
import trio

from p2p.config import AuthSettings, RuleSettings
from p2p.core.oci.digest import Digest
from p2p.registry.auth.guard import Guard
from p2p.registry.auth.rules import AccessRules
from tests.support.auth_rig import MemoryAuthenticator, basic
from tests.support.push_rig import NAME, Push
from tests.support.registry_rig import errors, header


async def test_it_runs_and_ends() -> None:
    push = Push()
    async with trio.open_nursery() as nursery:
        await nursery.start(push.hosted.run)
        location = await push.begin()
        nursery.cancel_scope.cancel()
    assert location.startswith(f"/v2/{NAME}/blobs/uploads/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2/test/app/manifests/1"),
        ("DELETE", "/v2/test/app/manifests/1"),
        ("DELETE", f"/v2/test/app/blobs/{Digest.of(b'')}"),
        ("PATCH", "/v2/test/app/blobs/uploads/abc"),
        ("GET", "/v2/test/app/blobs/uploads/abc"),
    ],
)
async def test_what_is_not_hosted_takes_no_writes(method: str, path: str) -> None:
    push = Push()
    response = await push(method, path)
    assert (response.status, errors(response)[0]["code"]) == (405, "UNSUPPORTED")
    assert header(response, "allow") == "GET, HEAD"
    assert "--hosted" in errors(response)[0]["message"] + str(errors(response)[0])


async def test_uploads_of_one_blob_at_once() -> None:
    push = Push()
    data = bytes(100_000)
    async with trio.open_nursery() as nursery:
        for name in ("team/a", "team/b", "team/a", "team/c"):
            nursery.start_soon(push.blob, data, name)
    for name in ("team/a", "team/b", "team/c"):
        assert (await push.pull(f"/v2/{name}/blobs/{Digest.of(data)}"))[0] == 200
    assert not push.store.uploads.sessions()


def guarded(*rules: tuple[str, str, str]) -> Push:
    """A front end whose rules are (subject, glob, actions)."""
    settings = tuple(
        RuleSettings(subjects=(who,), repositories=(glob,), actions=tuple(actions.split()))
        for who, glob, actions in rules
    )
    access = AccessRules.from_settings(AuthSettings(jwks="x", rules=settings))
    return Push(guard=Guard(MemoryAuthenticator(), access))


@pytest.mark.parametrize(
    ("reads", "query", "status"),
    [
        ("team/b/**", "&from=team/b/hidden", 201),
        ("team/c/**", "&from=team/b/hidden", 202),
        ("**", "", 201),
        ("team/**", "", 202),
        ("team/b/**", "", 202),
    ],
)
async def test_a_mount_gives_nobody_what_he_may_not_read(reads: str, query: str, status: int) -> None:
    """CVE-2024-39897. To take it from anywhere is for those who may read everything."""
    push = guarded(
        ("alice", "team/a", "pull push"), ("alice", reads, "pull"), ("bob", "team/b/**", "pull push")
    )
    alice, bob = basic("alice", "secret"), basic("bob", "hidden")
    data = b"of bob's repository"
    digest = Digest.of(data)
    path = "/v2/team/b/hidden/blobs/uploads/"
    assert (await push("POST", path, f"digest={digest}", data, authorization=bob)).status == 201
    answer = await push("POST", "/v2/team/a/blobs/uploads/", f"mount={digest}{query}", authorization=alice)
    assert answer.status == status
    found = await push("HEAD", f"/v2/team/a/blobs/{digest}", authorization=alice)
    assert found.status == (200 if status == 201 else 404)
