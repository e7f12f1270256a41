"""One suite for every Origin: over HTTP from a registry, and in memory."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.errors import OriginNotFoundError, OriginProtocolError
from p2p.origin.api import Kind, Origin
from p2p.origin.memory import MemoryOrigin
from tests.support.upstream import Registry, Reply, Request, upstream

BLOB = bytes(range(256)) * 1000
MANIFEST = b'{"schemaVersion":2}'
TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(params=["http", "memory"])
def opened(request, connect):
    @asynccontextmanager
    async def run() -> AsyncGenerator[Origin]:
        if request.param == "memory":
            origin = MemoryOrigin()
            origin.put_blob("a/b", BLOB)
            origin.put_manifest("a/b", TYPE, MANIFEST, "latest", "v1")
            yield origin
            return
        registry = Registry()
        registry.add_blob(BLOB)
        registry.add_manifest(MANIFEST, TYPE, "latest", "v1")

        def script(asked: Request) -> Reply:
            if asked.path.endswith("/tags/list"):
                body = json.dumps({"name": "a/b", "tags": ["latest", "v1"]}).encode()
                return Reply(200, body, (("content-type", "application/json"),))
            return registry(asked)

        async with upstream(script) as server, connect(server.url()) as http:
            yield http

    return run


async def test_head_by_tag_and_digest(opened):
    async with opened() as origin:
        for reference in ("latest", "v1", str(Digest.of(MANIFEST))):
            found = await origin.head("a/b", reference)
            assert (found.digest, found.size, found.media_type) == (Digest.of(MANIFEST), len(MANIFEST), TYPE)


async def test_what_is_not_there(opened):
    async with opened() as origin:
        nothing = Digest.of(b"nothing")
        with pytest.raises(OriginNotFoundError) as caught:
            await origin.head("a/b", "none")
        assert caught.value.subject == origin.name
        with pytest.raises(OriginNotFoundError):
            await origin.head_blob("a/b", nothing)
        for kind in Kind:
            with pytest.raises(OriginNotFoundError):
                async with origin.open("a/b", nothing, kind):
                    pass


@pytest.mark.parametrize(
    ("offset", "stop"), [(0, None), (1, None), (0, 1), (999, 2000), (5, 10**9), (len(BLOB), None)]
)
async def test_spans(opened, offset, stop):
    async with (
        opened() as origin,
        origin.open("a/b", Digest.of(BLOB), Kind.BLOB, offset=offset, stop=stop) as body,
    ):
        assert (body.size, body.offset) == (len(BLOB), offset)
        assert b"".join([part async for part in body]) == BLOB[offset:stop]


async def test_behind_the_end(opened):
    async with opened() as origin:
        with pytest.raises(OriginProtocolError):
            async with origin.open("a/b", Digest.of(BLOB), Kind.BLOB, offset=len(BLOB) + 1):
                pass


async def test_manifest_with_its_type(opened):
    async with opened() as origin, origin.open("a/b", Digest.of(MANIFEST), Kind.MANIFEST) as body:
        assert body.media_type == TYPE
        assert b"".join([part async for part in body]) == MANIFEST


async def test_many_at_once(opened):
    async with opened() as origin:
        done: list[bool] = []

        async def read() -> None:
            async with origin.open("a/b", Digest.of(BLOB), Kind.BLOB) as body:
                done.append(b"".join([part async for part in body]) == BLOB)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(read)
        assert done == [True] * 20


async def test_lists(opened):
    async with opened() as origin:
        assert json.loads((await origin.tags("a/b", None, None)).data)["tags"] == ["latest", "v1"]
        fetched = await origin.referrers("a/b", Digest.of(MANIFEST), None)
        assert json.loads(fetched.data)["manifests"] == []
        assert (await origin.head_blob("a/b", Digest.of(BLOB))).size == len(BLOB)
