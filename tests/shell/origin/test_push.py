"""The conformance suite of `Destination` on both of its kinds, and what only the one over HTTP can meet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.errors import (
    OriginDeniedError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
    VerificationError,
)
from p2p.origin.memory import MemoryBody, MemoryDestination, MemoryOrigin
from p2p.origin.push import ATTEMPTS, MONOLITHIC, Pusher
from tests.support.push_registry import PushRegistry
from tests.support.upstream import Reply, Request, upstream

SMALL = b"a small blob" * 100
LARGE = bytes(range(256)) * (MONOLITHIC // 256) + b"and more"
TYPE = "application/vnd.oci.image.manifest.v1+json"


def blob_of(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(data, algorithm), len(data))


class Source:
    """A content in memory; ``opened`` at these offsets."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opened: list[int] = []

    @asynccontextmanager
    async def __call__(self, offset: int) -> AsyncGenerator[AsyncIterator[bytes]]:
        self.opened.append(offset)
        yield MemoryBody(MemoryOrigin(part=1 << 20), "", self.data, offset, len(self.data))


@pytest.fixture
def registry() -> PushRegistry:
    return PushRegistry()


@asynccontextmanager
async def over_http(connect, registry, **settings) -> AsyncGenerator[tuple[Pusher, object]]:
    async with upstream(registry) as server, connect(server.url(), **settings) as origin:
        registry.realm = server.url()
        yield Pusher(origin.session, first_wait=0.001), server


@pytest.fixture(params=["http", "memory"])
def destination(request, connect, registry):
    """Give a context manager: a destination, and a function that gives a blob's bytes there or None."""

    @asynccontextmanager
    async def opened():
        if request.param == "memory":
            origin = MemoryOrigin()
            yield MemoryDestination(origin), lambda path, digest: origin.at(path).blobs.get(digest)
            return
        async with over_http(connect, registry) as (pusher, _):
            yield pusher, lambda path, digest: registry.blobs.get(path, {}).get(str(digest))

    return opened


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
async def test_a_blob_is_there_when_it_was_uploaded(destination, data: bytes) -> None:
    blob = blob_of(data)
    async with destination() as (target, held):
        assert not await target.has_blob("lib/a", blob.digest)
        assert await target.upload_blob("lib/a", blob, Source(data)) == len(data)
        assert await target.has_blob("lib/a", blob.digest)
        assert held("lib/a", blob.digest) == data


async def test_sha512(destination) -> None:
    blob = blob_of(SMALL, "sha512")
    async with destination() as (target, held):
        await target.upload_blob("a", blob, Source(SMALL))
        assert held("a", blob.digest) == SMALL


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_wrong_bytes_are_never_a_blob(destination, data: bytes) -> None:
    blob = blob_of(data)
    wrong = bytearray(data)
    wrong[5] ^= 1
    async with destination() as (target, held):
        for content in (bytes(wrong), data[:-1], data + b"x"):
            with pytest.raises(VerificationError):
                await target.upload_blob("a", blob, Source(content))
        assert held("a", blob.digest) is None


async def test_mount(destination) -> None:
    blob = blob_of(SMALL)
    async with destination() as (target, held):
        assert not await target.mount("b", blob.digest, "a")
        await target.upload_blob("a", blob, Source(SMALL))
        assert await target.mount("b", blob.digest, "a")
        assert held("b", blob.digest) == SMALL


async def test_a_manifest_by_tags_and_by_digest(destination) -> None:
    data = b'{"schemaVersion":2}'
    manifest = Descriptor(TYPE, Digest.of(data), len(data))
    async with destination() as (target, _):
        assert (await target.put_manifest("a", manifest, data, ("1", "latest"))).digest == manifest.digest
        assert (await target.put_manifest("a", manifest, data)).digest == manifest.digest


async def test_what_is_asked_over_http(connect, registry) -> None:
    async with over_http(connect, registry) as (pusher, server):
        await pusher.upload_blob("a", blob_of(SMALL), Source(SMALL))
        await pusher.upload_blob("a", blob_of(LARGE), Source(LARGE))
        asked = [request.method for request in server.requests]
        assert asked == ["POST", "PUT", "POST", "PATCH", "PUT"]
        assert server.requests[1].query["state"] == ["x"]
        registry.mounts = False
        assert not await pusher.mount("b", blob_of(SMALL).digest, "a")
        assert not registry.uploads  # what was opened in its place was cancelled


def once(part: str, method: str, reply: Reply, before=None):
    """A fault for the first request that fits; ``before`` gets it first."""
    done = []

    def fault(request: Request) -> Reply | None:
        if done or request.method != method or part not in request.path:
            return None
        done.append(request)
        if before is not None:
            before(request)
        return reply

    return fault


async def test_a_broken_upload_goes_on_where_it_came_to(connect, registry) -> None:
    half = len(LARGE) // 2

    def keep_half(request: Request) -> None:
        registry.uploads["u0"] = request.body[:half]

    registry.faults.append(once("uploads", "PATCH", Reply(503), keep_half))
    async with over_http(connect, registry) as (pusher, server):
        source = Source(LARGE)
        await pusher.upload_blob("a", blob_of(LARGE), source)
        assert source.opened == [0, half]
        assert [request.method for request in server.requests] == ["POST", "PATCH", "GET", "PATCH", "PUT"]
        assert server.requests[3].headers["content-range"] == f"{half}-{len(LARGE) - 1}"
    assert registry.blobs["a"][str(blob_of(LARGE).digest)] == LARGE


async def test_a_forgotten_upload_begins_anew(connect, registry) -> None:
    registry.faults.append(once("uploads", "PATCH", Reply(502), lambda _: registry.uploads.clear()))
    async with over_http(connect, registry) as (pusher, server):
        source = Source(LARGE)
        await pusher.upload_blob("a", blob_of(LARGE), source)
        assert source.opened == [0, 0]
        assert len(server.asked("POST")) == 2


async def test_a_lost_answer_to_the_last_request_sends_nothing_again(connect, registry) -> None:
    def keep(request: Request) -> None:
        registry.uploads.clear()
        registry.blobs["a"][str(blob_of(SMALL).digest)] = request.body

    registry.faults.append(once("uploads", "PUT", Reply(504), keep))
    async with over_http(connect, registry) as (pusher, _):
        source = Source(SMALL)
        assert await pusher.upload_blob("a", blob_of(SMALL), source) == len(SMALL)
        assert source.opened == [0]


async def test_a_registry_that_only_fails_is_given_up(connect, registry) -> None:
    registry.faults.append(lambda r: Reply(500) if r.method == "PUT" else None)
    async with over_http(connect, registry) as (pusher, server):
        with pytest.raises(OriginStatusError, match="500"):
            await pusher.upload_blob("a", blob_of(SMALL), Source(SMALL))
        assert len(server.asked("PUT")) == ATTEMPTS
        manifest = Descriptor(TYPE, Digest.of(b"{}"), 2)
        with pytest.raises(OriginStatusError, match="500"):
            await pusher.put_manifest("a", manifest, b"{}")


async def test_a_range_beyond_the_blob_is_refused(connect, registry) -> None:
    reply = Reply(202, headers=(("location", "/v2/a/blobs/uploads/u0"), ("range", "0-99999999")))
    registry.faults.append(once("uploads", "PATCH", reply))
    async with over_http(connect, registry) as (pusher, _):
        with pytest.raises(OriginProtocolError, match="has the range"):
            await pusher.upload_blob("a", blob_of(LARGE), Source(LARGE))


async def test_tokens_are_for_pushing(connect, registry) -> None:
    registry.token = "t"
    async with over_http(connect, registry, username="me", password="secret") as (pusher, server):
        await pusher.upload_blob("a", blob_of(LARGE), Source(LARGE))
        assert registry.scopes == ["repository:a:pull,push"]
        assert len([r for r in server.requests if "authorization" not in r.headers]) == 1
        await pusher.mount("b", blob_of(LARGE).digest, "a")
        assert registry.scopes[1:] == ["repository:b:pull,push repository:a:pull"]


async def test_a_token_that_ends_on_the_way_costs_one_more_try(connect, registry) -> None:
    registry.token = "t"
    seen = []

    def end(request: Request) -> Reply | None:
        if request.method == "PATCH" and not seen:
            seen.append(request)
            registry.token = "t2"
        return None

    registry.faults.append(end)
    async with over_http(connect, registry, username="me", password="secret") as (pusher, server):
        source = Source(LARGE)
        await pusher.upload_blob("a", blob_of(LARGE), source)
        assert registry.blobs["a"][str(blob_of(LARGE).digest)] == LARGE
        assert source.opened == [0, 0]
        assert len(server.asked("POST")) == 2  # without a token, and with one


async def test_credentials_stay_with_the_registry(connect, registry) -> None:
    registry.token = "t"
    elsewhere = PushRegistry()
    elsewhere.uploads["u0"] = b""
    async with upstream(elsewhere) as other:
        registry.location = other.url()
        async with over_http(connect, registry, username="u", password="p", private_addresses=True) as (
            pusher,
            _,
        ):
            await pusher.upload_blob("a", blob_of(SMALL), Source(SMALL))
        assert [request.headers.get("authorization") for request in other.requests] == [None]
    assert elsewhere.blobs["a"][str(blob_of(SMALL).digest)] == SMALL


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("", "redirects to nowhere"),
        ("ftp://x/y", "not an http"),
        ("http://user@127.0.0.1/x", "a user name"),
        ("http://169.254.169.254/x", "where an upstream must not lead"),
    ],
)
async def test_a_location_that_leads_astray(connect, registry, location: str, words: str) -> None:
    registry.faults.append(once("uploads", "POST", Reply(202, headers=(("location", location),))))
    async with over_http(connect, registry) as (pusher, _):
        with pytest.raises(OriginProtocolError, match=words):
            await pusher.upload_blob("a", blob_of(SMALL), Source(SMALL))


async def test_nothing_written_follows_a_redirect(connect, registry) -> None:
    registry.faults.append(once("uploads", "PUT", Reply(307, headers=(("location", "/x"),))))
    async with over_http(connect, registry) as (pusher, _):
        with pytest.raises(OriginProtocolError, match="is redirected"):
            await pusher.upload_blob("a", blob_of(SMALL), Source(SMALL))


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, OriginDeniedError, "may not write to"),
        (405, OriginStatusError, "takes no pushes"),
        (413, OriginStatusError, "raise the limit"),
    ],
)
async def test_refusals_say_what_to_mend(connect, registry, status: int, error: type, words: str) -> None:
    registry.faults.append(lambda _: Reply(status))
    async with over_http(connect, registry) as (pusher, _):
        with pytest.raises(error, match=words):
            await pusher.upload_blob("a", blob_of(SMALL), Source(SMALL))


async def test_a_manifest_kept_as_another_is_an_error(connect, registry) -> None:
    other = str(Digest.of(b"other"))
    registry.faults.append(once("manifests", "PUT", Reply(201, headers=(("docker-content-digest", other),))))
    async with over_http(connect, registry) as (pusher, _):
        with pytest.raises(OriginProtocolError, match="was kept as"):
            await pusher.put_manifest("a", Descriptor(TYPE, Digest.of(b"{}"), 2), b"{}")


async def test_an_error_of_the_content_passes_through(connect, registry) -> None:
    origin = MemoryOrigin()
    origin.truncate = 10

    class Broken(Source):
        @asynccontextmanager
        async def __call__(self, offset: int) -> AsyncGenerator[AsyncIterator[bytes]]:
            self.opened.append(offset)
            yield MemoryBody(origin, "", self.data, offset, len(self.data))

    source = Broken(SMALL)
    async with over_http(connect, registry) as (pusher, _):
        origin.part = 10
        with pytest.raises(OriginUnreachableError, match="memory"):
            await pusher.upload_blob("a", blob_of(SMALL), source)
    assert len(source.opened) == ATTEMPTS
