"""The front end as the daemon makes it: real metadata, real queue, real guard, the search extension."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import trio

from p2p.config import (
    AuthSettings,
    HostingSettings,
    NodeSettings,
    PluginSettings,
    RegistrySettings,
    RuleSettings,
    StoreSettings,
    TlsSettings,
)
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.errors import ConfigError
from p2p.metadata.hosting import HOSTED
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.metadata.sql import open_metadata
from p2p.net.message import Content, Request, Response
from p2p.node.front_end import FrontEnd, FrontEndParts, check_front_end, open_front_end
from p2p.origin import memory
from p2p.registry.hosted import Hosted
from p2p.registry.proof import Privacy
from p2p.registry.visibility import Visibility
from p2p.search import indexer
from p2p.store.disk import DiskStore
from p2p.transfer.confined import Unconfined
from tests.support.push_rig import EMPTY, Bytes, StoreTransfer, descriptor
from tests.support.registry_rig import CONFIG, UPSTREAMS, MemoryOrigin, MemoryOrigins, MemoryReferences
from tests.support.store_rig import HASHER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ALICE = "Basic YWxpY2U6c2VjcmV0"  # alice:secret


@asynccontextmanager
async def opened(state: Path, database: MemoryHosting | None) -> AsyncIterator[Any]:
    if database is not None:
        yield database
        return
    async with open_metadata(state) as metadata:
        yield metadata


@asynccontextmanager
async def front_end(
    state: Path,
    *,
    database: MemoryHosting | None = None,
    stores: list[DiskStore] | None = None,
    **more: Any,
) -> AsyncIterator[FrontEnd]:
    """Open one. ``database`` is shared with others; content comes from the first of their ``stores``."""
    settings = NodeSettings(
        state=str(state),
        registry=RegistrySettings(default_upstream="test"),
        hosting=HostingSettings(repositories=("team/**",)),
        **more,
    )
    store = await DiskStore.load(state, StoreSettings(minimum_free=0), hasher=HASHER, withdraw=lambda _: None)
    stores = [] if stores is None else stores
    stores.append(store)
    origins = MemoryOrigins(MemoryOrigin("test"))
    async with opened(state, database) as metadata, trio.open_nursery() as nursery:
        parts = FrontEndParts(
            upstreams=UPSTREAMS,
            transfer=StoreTransfer(origins, stores[0]),  # type: ignore[arg-type]
            store=store,
            metadata=metadata,
            origins=origins,
            references=MemoryReferences(),
            destination=lambda _: memory.MemoryDestination(memory.MemoryOrigin("test")),
            layouts=Hosted(),
            announce=lambda _: None,
            node="n1",
            rng=random.Random(1),
            privacy=Privacy(
                settings=settings.private,
                visibility=Visibility(records=metadata, gate=origins.find, max_age=300.0),
                proofs=Unconfined(),
                gate=origins.find,
            ),
            taken=lambda _: None,
        )
        async with open_front_end(settings, parts) as made, trio.open_nursery() as running:
            await made.start(running)
            yield made
            await made.notifications.stop()
            running.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    store.close()


async def ask(
    made: FrontEnd, method: str, path: str, query: str = "", body: bytes = b"", **headers: str
) -> Response:
    pairs = tuple((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())
    return await made.registry.handle(Request(method, path, query, pairs, Bytes(body), peer="127.0.0.1:9"))


async def push(
    made: FrontEnd,
    name: str = "team/app",
    *,
    tag: str = "1",
    annotations: dict[str, str] | None = None,
    **headers: str,
) -> None:
    digest = Digest.of(EMPTY)
    response = await ask(made, "POST", f"/v2/{name}/blobs/uploads/", f"digest={digest}", EMPTY, **headers)
    assert response.status == 201, response
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, digest, EMPTY),
        "layers": [],
        "annotations": annotations or {},
    }
    data = json.dumps(document).encode()
    response = await ask(
        made, "PUT", f"/v2/{name}/manifests/{tag}", "", data, content_type=OCI_MANIFEST, **headers
    )
    assert response.status == 201, response


def json_of(response: Response) -> Any:
    assert isinstance(response.body, Content)
    return json.loads(response.body.data)


async def test_what_is_pushed_is_found(tmp_path: Path) -> None:
    async with front_end(tmp_path) as made:
        await push(made)
        found = json_of(await ask(made, "GET", "/v2/_oci/ext/discover"))
        assert {one["name"] for one in found["extensions"]} == {"_oci", "_remora"}
        with trio.fail_after(5):
            while True:
                answer = await ask(made, "GET", "/v2/_remora/search/images", "q=team")
                if answer.status == 200 and json_of(answer)["results"]:
                    break
                await trio.sleep(0.01)
        assert json_of(answer)["results"][0]["repository"] == "team/app"
        assert (await ask(made, "GET", "/v2/_other/x")).status == 404


async def search(made: FrontEnd, query: str) -> list[tuple[str, list[str]]]:
    answer = await ask(made, "GET", "/v2/_remora/search/images", f"q={query}")
    return [(one["repository"], one["tags"]) for one in json_of(answer)["results"]]


async def until_found(made: FrontEnd, query: str, *wanted: tuple[str, list[str]]) -> None:
    with trio.fail_after(30):
        while sorted(await search(made, query)) != sorted(wanted):
            await trio.lowlevel.checkpoint()


async def test_what_is_done_at_one_front_end_is_found_at_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "POLL_SECONDS", 0.01)
    database = MemoryHosting(shared=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    stores: list[DiskStore] = []
    async with front_end(tmp_path / "a", database=database, stores=stores) as one:
        async with front_end(tmp_path / "b", database=database, stores=stores) as other:
            await push(one)
            await push(one, "team/app", annotations={"is": "second"}, tag="2")
            await until_found(other, "", ("team/app", ["1"]), ("team/app", ["2"]))
            await until_found(other, "annotation:is=second", ("team/app", ["2"]))
            # A tag moves; then it is deleted; then the manifest; then all comes again, at the other one.
            await push(one, "team/app", annotations={"is": "second"}, tag="1")
            await until_found(other, "", ("team/app", []), ("team/app", ["1", "2"]))
            assert (await ask(one, "DELETE", "/v2/team/app/manifests/2")).status == 202
            await until_found(other, "annotation:is=second", ("team/app", ["1"]))
            row = await database.tag(Repository(HOSTED, "team/app"), "1")
            assert row is not None
            assert (await ask(one, "DELETE", f"/v2/team/app/manifests/{row.digest}")).status == 202
            await until_found(other, "", ("team/app", []))
            await push(other, "team/back")
            await until_found(other, "back", ("team/back", ["1"]))
        await until_found(one, "", ("team/app", []), ("team/back", ["1"]))


async def test_an_extension_taken_away_is_not_missed(tmp_path: Path) -> None:
    from p2p.config import ExtensionSettings

    async with front_end(tmp_path, extensions=ExtensionSettings(without=("search",))) as made:
        await push(made)
        found = json_of(await ask(made, "GET", "/v2/_oci/ext/discover"))
        assert [one["name"] for one in found["extensions"]] == ["_oci"]
        assert (await ask(made, "GET", "/v2/_remora/search/images", "q=x")).status == 404


async def test_who_may_do_what(tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_bytes(b"alice:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)) + b"\n")
    rules = (
        RuleSettings(repositories=("team/**",), subjects=("alice",), actions=("pull", "push", "delete")),
        RuleSettings(repositories=("team/open",), subjects=("anonymous",), actions=("pull",)),
    )
    auth = AuthSettings(htpasswd=str(passwords), rules=rules)
    async with front_end(tmp_path, auth=auth) as made:
        assert (await ask(made, "POST", "/v2/team/app/blobs/uploads/")).status == 401
        assert (await ask(made, "GET", "/v2/team/app/manifests/1")).status == 401
        await push(made, authorization=ALICE)
        await push(made, "team/open", authorization=ALICE)
        assert (await ask(made, "GET", "/v2/team/open/manifests/1")).status == 200
        assert (await ask(made, "GET", "/v2/test/app/manifests/1", authorization=ALICE)).status == 403
        # A mount from anywhere would tell what others have.
        mount = await ask(
            made, "POST", "/v2/team/x/blobs/uploads/", f"mount={Digest.of(EMPTY)}", authorization=ALICE
        )
        assert mount.status == 202
        mount = await ask(
            made,
            "POST",
            "/v2/team/x/blobs/uploads/",
            f"mount={Digest.of(EMPTY)}&from=team/app",
            authorization=ALICE,
        )
        assert mount.status == 201


async def test_rules_alone_make_a_read_only_registry(tmp_path: Path) -> None:
    rule = RuleSettings(repositories=("team/open",), subjects=("anonymous",))
    async with front_end(tmp_path, auth=AuthSettings(rules=(rule,))) as made:
        assert (await ask(made, "POST", "/v2/team/open/blobs/uploads/")).status == 403
        assert (await ask(made, "GET", "/v2/team/app/manifests/1")).status == 403
        assert (await ask(made, "GET", "/v2/team/open/manifests/1")).status == 404


def test_open_to_all_hosts_needs_a_decision() -> None:
    registry = RegistrySettings(listen="0.0.0.0:5000")
    with pytest.raises(ConfigError, match=r"registry\.insecure"):
        check_front_end(NodeSettings(registry=registry))
    check_front_end(NodeSettings(registry=RegistrySettings(listen="0.0.0.0:5000", insecure=True)))
    check_front_end(NodeSettings(registry=registry, auth=AuthSettings(htpasswd="users")))
    more = AuthSettings(authenticators=(PluginSettings(name="api-keys"),))
    check_front_end(NodeSettings(registry=registry, auth=more))
    check_front_end(NodeSettings())
    with pytest.raises(ConfigError, match=r"tls\.key_file"):
        check_front_end(NodeSettings(tls=TlsSettings(cert_file="c")))
