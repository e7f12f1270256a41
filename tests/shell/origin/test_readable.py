"""Who may read, over HTTP: by what is given, not by whether there is a token."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2p.core.oci.digest import Digest
from p2p.origin.api import Gate, Kind
from p2p.origin.credentials import Credential
from p2p.origin.memory import MemoryOrigin
from p2p.origin.readable import Readable
from tests.support.upstream import Reply, Request, upstream

OWNER = Credential("owner", "right")
WRONG = Credential("owner", "wrong")
TAG = (Kind.MANIFEST, "1")
MISSING = (Kind.MANIFEST, "none")
BLOB = (Kind.BLOB, str(Digest.of(b"layer")))


@dataclass
class Hub:
    """A registry with private repositories. ``scheme`` is ``bearer`` or ``basic``; ``hides`` with 404.

    As many do, its realm gives everybody a token: what that is good for shows later.
    """

    scheme: str = "bearer"
    hides: bool = False
    lists: bool = True
    private: set[str] = field(default_factory=lambda: {"org/secret"})
    status: int = 0
    realm: str = ""
    port: int = 0

    def __call__(self, request: Request) -> Reply:
        if self.status:
            return Reply(self.status)
        given = request.headers.get("authorization", "")
        if request.path == "/token":
            owner = given == OWNER.basic
            if given and not owner:
                return Reply(401)
            return Reply(200, json.dumps({"token": "owner" if owner else "anybody"}).encode())
        path = request.path.removeprefix("/v2/").rsplit("/", 2)[0]
        owner = given in ("Bearer owner", OWNER.basic)
        if path in self.private and not owner:
            if self.hides and given:
                return Reply(404)
            return Reply(401, b"", (("www-authenticate", self.challenge(path)),))
        if self.scheme == "bearer" and not given:
            return Reply(401, b"", (("www-authenticate", self.challenge(path)),))
        if request.path.endswith("/tags/list"):
            return Reply(200, b'{"tags":["1"]}') if self.lists else Reply(405)
        return Reply(404) if request.path.endswith("/none") else Reply(200, b"{}")

    def challenge(self, path: str) -> str:
        if self.scheme == "basic":
            return 'Basic realm="hub"'
        realm = self.realm or f"http://127.0.0.1:{self.port}/token"
        return f'Bearer realm="{realm}",service="hub",scope="repository:{path}:pull"'


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
@pytest.mark.parametrize("wanted", [None, TAG, MISSING, BLOB])
async def test_by_credentials(connect: Any, scheme: str, wanted: tuple[Kind, str] | None) -> None:
    hub = Hub(scheme)
    async with upstream(hub) as server, connect(server.url(), username="node", password="its own") as origin:
        hub.port = server.port
        for path, credential, told in (
            ("org/open", None, Readable.YES),
            ("org/secret", None, Readable.NO),
            ("org/secret", WRONG, Readable.NO),
            ("org/secret", OWNER, Readable.YES),
            ("org/secret", None, Readable.NO),
        ):
            assert await origin.readable(path, wanted, credential) is told, (path, credential)
        node = base64.b64encode(b"node:its own").decode()
        assert not [one for one in server.requests if node in one.headers.get("authorization", "")]


async def test_hidden_behind_404_is_not_told_from_absent(connect: Any) -> None:
    hub = Hub(hides=True)
    async with upstream(hub) as server, connect(server.url()) as origin:
        hub.port = server.port
        assert await origin.readable("org/secret", TAG, None) is Readable.ABSENT
        assert await origin.readable("org/secret", TAG, OWNER) is Readable.YES


async def test_without_a_list_of_tags_content_decides(connect: Any) -> None:
    hub = Hub(lists=False)
    async with upstream(hub) as server, connect(server.url()) as origin:
        hub.port = server.port
        assert await origin.readable("org/open", TAG, None) is Readable.YES
        assert await origin.readable("org/open", BLOB, None) is Readable.YES
        assert await origin.readable("org/open", MISSING, None) is Readable.ABSENT
        assert await origin.readable("org/open", None, None) is Readable.ABSENT


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_who_can_not_be_asked_is_unknown_and_the_node_goes_on(connect: Any, status: int) -> None:
    hub = Hub(scheme="basic")
    async with upstream(hub) as server, connect(server.url()) as origin:
        hub.status = status
        for credential in (None, OWNER):
            assert await origin.readable("org/open", TAG, credential) is Readable.UNKNOWN
        hub.status = 0
        # What strangers met has opened breakers of their own.
        assert (await origin.tags("org/open", None, None)).status == 200


async def test_no_connection_is_unknown(connect: Any) -> None:
    async with connect("http://127.0.0.1:1") as origin:
        assert await origin.readable("org/open", TAG, None) is Readable.UNKNOWN


async def test_a_strange_realm_gets_no_credentials(connect: Any) -> None:
    stranger = Hub()
    hub = Hub()
    async with (
        upstream(stranger) as thief,
        upstream(hub) as server,
        connect(server.url(), private_addresses=True) as origin,
    ):
        hub.realm = f"http://thief.example:{thief.port}/token"
        assert await origin.readable("org/secret", TAG, OWNER) is Readable.NO
        assert thief.requests == []
        assert not [one for one in server.requests if "authorization" in one.headers]


async def test_each_question_gets_a_token_of_its_own(connect: Any) -> None:
    hub = Hub()
    async with upstream(hub) as server, connect(server.url()) as origin:
        hub.port = server.port
        for _ in range(2):
            assert await origin.readable("org/open", TAG, None) is Readable.YES
        assert len(server.asked(part="/token")) == 2


@pytest.mark.parametrize(("settings", "held"), [({}, False), ({"username": "a", "password": "b"}, True)])
async def test_credentials_that_are_held(connect: Any, settings: dict[str, str], held: bool) -> None:
    async with connect("http://127.0.0.1:1", **settings) as origin:
        assert await origin.holds_credentials() is held


async def test_the_twin_answers_alike() -> None:
    twin: Gate = MemoryOrigin()
    assert isinstance(twin, MemoryOrigin)
    twin.put_blob("org/open", b"x")
    twin.put_blob("org/secret", b"x")
    twin.readers["org/secret"] = {"owner": "right"}
    for path, credential, told in (
        ("org/open", None, Readable.YES),
        ("org/open", OWNER, Readable.YES),
        ("org/secret", None, Readable.NO),
        ("org/secret", WRONG, Readable.NO),
        ("org/secret", OWNER, Readable.YES),
        ("none", None, Readable.ABSENT),
    ):
        assert await twin.readable(path, TAG, credential) is told
    assert not await twin.holds_credentials()
