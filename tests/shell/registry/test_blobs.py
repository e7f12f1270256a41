from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.config import RegistrySettings
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.errors import (
    OriginDeniedError,
    OriginLimitedError,
    OriginUnreachableError,
    RemoraError,
    StoreFullError,
    StoreUnhealthyError,
    VerificationError,
)
from p2p.net.message import Response, Spans
from p2p.registry.spans import length_of
from tests.support.registry_rig import APP, LAYER, Rig, at_once, errors, header, read

DATA = bytes(range(256)) * 40


async def linked(rig: Rig, data: bytes = DATA, *, stored: bool = False) -> Digest:
    """A blob that test/app is known to reach: at the origin, or already here."""
    digest = rig.origin.put_blob("app", data)
    await rig.metadata.link(APP, [Descriptor(LAYER, digest, len(data))])
    if stored:
        rig.transfer.complete[digest] = data
    return digest


def url(digest: Digest, name: str = "app") -> str:
    return f"/v2/{name}/blobs/{digest}"


@pytest.mark.parametrize("stored", [False, True])
async def test_get_gives_the_bytes_and_what_clients_rely_on(stored: bool) -> None:
    rig = Rig()
    rig.transfer.step = 1000
    digest = await linked(rig, stored=stored)
    response = await rig.get(url(digest))
    assert response.status == 200
    assert await read(response) == DATA
    assert header(response, "docker-content-digest") == str(digest)
    assert header(response, "etag") == f'"{digest}"'
    assert header(response, "accept-ranges") == "bytes"
    assert header(response, "content-type") == "application/octet-stream"
    assert header(response, "content-encoding") is None
    assert header(response, "oci-namespace") is None
    statistics = rig.registry.statistics
    assert (statistics.hits, statistics.misses) == ((1, 0) if stored else (0, 1))
    assert statistics.sent == len(DATA)
    assert statistics.requests["blob", 200] == 1
    assert rig.transfer.readers == 0


async def test_a_warm_blob_is_opened_once_and_asks_no_origin() -> None:
    rig = Rig()
    digest = await linked(rig, stored=True)
    await read(await rig.get(url(digest)))
    assert len(rig.transfer.opened) == 1
    assert not rig.origin.calls


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, len(DATA)),
        ("bytes=-500", len(DATA) - 500, len(DATA)),
        ("bytes=10000-99999", 10000, len(DATA)),
        ("bytes=0-0", 0, 1),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
async def test_single_ranges(asked: str, start: int, stop: int, stored: bool) -> None:
    rig = Rig()
    digest = await linked(rig, stored=stored)
    response = await rig.get(url(digest), range=asked)
    assert response.status == 206
    assert header(response, "content-range") == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert await read(response) == DATA[start:stop]


@pytest.mark.parametrize("asked", ["bytes=500-0", "bytes=20000-", "bytes=-0"])
async def test_ranges_outside_are_416_and_read_nothing(asked: str) -> None:
    rig = Rig()
    digest = await linked(rig)
    response = await rig.get(url(digest), range=asked)
    assert response.status == 416
    assert header(response, "content-range") == f"bytes */{len(DATA)}"
    assert rig.transfer.spans_given == 0


async def test_several_ranges_are_multipart() -> None:
    rig = Rig()
    digest = await linked(rig)
    response = await rig.get(url(digest), range="bytes=0-9,5000-5009")
    assert response.status == 206
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", header(response, "content-type") or "")
    assert boundary is not None
    parts = (await read(response)).split(b"--" + boundary[1].encode())
    assert parts[1].endswith(b"\r\n\r\n" + DATA[:10] + b"\r\n")
    assert parts[2].endswith(b"\r\n\r\n" + DATA[5000:5010] + b"\r\n")


@pytest.mark.parametrize("asked", ["bytes=500-1499", "bytes=-51", "bytes=0-0,700-709"])
async def test_small_ranges_of_what_is_not_here_are_read_alone(asked: str) -> None:
    rig = Rig()
    rig.transfer.lazy = True
    digest = await linked(rig)
    answer = await read(await rig.get(url(digest), range=asked))
    assert rig.transfer.opened == []
    rig.transfer.lazy = False
    assert answer == await read(await rig.get(url(digest), range=asked))
    assert len(rig.transfer.small) == 1
    assert rig.registry.statistics.sent > 10


@pytest.mark.parametrize("asked", ["bytes=500-", "bytes=0-9,700-", "bytes=20000-", "lines=1-2", ""])
async def test_a_download_that_goes_on_is_not_lazy(asked: str) -> None:
    rig = Rig()
    rig.transfer.lazy = True
    digest = await linked(rig)
    await read(await rig.get(url(digest), **({"range": asked} if asked else {})))
    await read(await rig.get(url(digest), range="bytes=0-9", if_range='"other"'))
    await rig.head(url(digest), range="bytes=0-9")
    assert rig.transfer.small == []


async def test_what_is_here_is_never_read_elsewhere() -> None:
    rig = Rig()
    rig.transfer.lazy = True
    digest = await linked(rig, stored=True)
    assert await read(await rig.get(url(digest), range="bytes=5-9")) == DATA[5:10]
    assert rig.transfer.small == []


async def test_head_never_downloads() -> None:
    rig = Rig()
    digest = await linked(rig)
    response = await rig.head(url(digest))
    assert response.status == 200
    assert isinstance(response.body, Spans)
    assert response.body.length == len(DATA)
    assert header(response, "docker-content-digest") == str(digest)
    assert rig.transfer.opened == []


async def test_head_of_an_unlinked_blob_asks_the_origin_for_its_size_alone() -> None:
    rig = Rig()
    digest = rig.origin.put_blob("app", DATA)
    response = await rig.head(url(digest))
    assert isinstance(response.body, Spans)
    assert (response.status, response.body.length) == (200, len(DATA))
    assert rig.transfer.opened == []
    assert rig.origin.calls == {"head_blob": 1}


async def test_absurd_size_is_the_upstreams_fault() -> None:
    rig = Rig()
    digest = Digest.of(b"x")
    await rig.metadata.link(APP, [Descriptor(LAYER, digest, 1 << 60)])
    assert (await rig.get(url(digest))).status == 502
    assert rig.transfer.opened == []


async def test_head_where_nobody_told_the_size_reads_no_byte() -> None:
    rig = Rig()
    digest = rig.origin.put_blob("app", DATA)
    await rig.metadata.link(APP, [Descriptor(LAYER, digest, 0)])
    response = await rig.head(url(digest))
    assert isinstance(response.body, Spans)
    assert response.body.length == len(DATA)
    assert rig.transfer.spans_given == 0


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_empty_blob(method: str, stored: bool) -> None:
    rig = Rig()
    digest = await linked(rig, b"", stored=stored)
    response = await rig(method, url(digest), range="bytes=0-")
    assert response.status == 200
    assert isinstance(response.body, Spans)
    assert response.body.length == 0


async def test_if_none_match() -> None:
    rig = Rig()
    digest = await linked(rig)
    for value in (f'"{digest}"', f'W/"{digest}"', f'"x", "{digest}"', "*"):
        response = await rig.get(url(digest), if_none_match=value)
        assert response.status == 304
        assert header(response, "etag") == f'"{digest}"'
    assert (await rig.get(url(digest), if_none_match='"other"')).status == 200


async def test_content_is_not_given_because_it_is_here() -> None:
    """CVE-2024-39897: neither GET nor HEAD nor a condition tells that a digest exists elsewhere."""
    rig = Rig()
    secret = rig.origin.put_blob("private", b"secret")
    rig.transfer.complete[secret] = b"secret"
    await rig.metadata.link(Repository("test", "private"), [Descriptor(LAYER, secret, 6)])
    for method in ("GET", "HEAD"):
        response = await rig(method, url(secret), if_none_match=f'"{secret}"')
        assert response.status == 404
        assert errors(response)[0]["code"] == "BLOB_UNKNOWN"
    assert rig.transfer.opened == []
    assert (await rig.get(url(secret, "private"))).status == 200


async def test_unknown_blob_is_404() -> None:
    response = await Rig().get(url(Digest.of(b"nothing")))
    assert response.status == 404
    assert errors(response)[0]["code"] == "BLOB_UNKNOWN"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OriginUnreachableError("test", "no connection", "Is it up?"), 502, "UNAVAILABLE"),
        (OriginLimitedError("test", "limits us", retry_after=7.2), 503, "UNAVAILABLE"),
        (OriginDeniedError("test", "refused the credentials", "Run docker login"), 403, "DENIED"),
        (VerificationError("blob", "wrong bytes"), 502, "UNAVAILABLE"),
        (StoreFullError("store", "full", "Free some space"), 507, "UNAVAILABLE"),
        (StoreUnhealthyError("store", "fsync failed"), 500, "UNKNOWN"),
        (RemoraError("node", "is shutting down"), 500, "UNKNOWN"),
    ],
)
@pytest.mark.parametrize("at_open", [True, False])
async def test_failure_before_the_first_byte_has_a_status(
    error: RemoraError, status: int, code: str, at_open: bool
) -> None:
    rig = Rig()
    digest = await linked(rig)
    rig.transfer.failure = error
    rig.transfer.fail_open = at_open
    rig.transfer.break_at = 0
    response = await rig.get(url(digest))
    assert (response.status, errors(response)[0]["code"]) == (status, code)
    assert error.cause in errors(response)[0]["message"]
    assert error.mend in errors(response)[0]["message"]
    assert header(response, "retry-after") == ("8" if status == 503 else None)
    assert response.status not in (401, 408, 429)
    assert rig.transfer.readers == 0


async def test_failure_after_the_first_byte_cuts_and_appends_nothing() -> None:
    rig = Rig()
    rig.transfer.step = 1000
    rig.transfer.break_at = 5000
    digest = await linked(rig)
    response = await rig.get(url(digest))
    assert response.status == 200
    assert isinstance(response.body, Spans)
    parts = response.body.parts()
    given = [await anext(parts) for _ in range(5)]
    with pytest.raises(OriginUnreachableError):
        await anext(parts)
    assert sum(map(length_of, given)) == 5000
    assert rig.transfer.readers == 0


async def test_first_bytes_of_a_range_are_what_is_waited_for() -> None:
    rig = Rig()
    rig.transfer.break_at = 5000
    digest = await linked(rig)
    assert (await rig.get(url(digest), range="bytes=6000-")).status == 502
    assert (await rig.get(url(digest), range="bytes=100-")).status == 206


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_a_silent_source_ends_in_504(autojump_clock: MockClock) -> None:
    rig = Rig(RegistrySettings(default_upstream="test", first_byte_timeout=20))
    digest = await linked(rig)
    rig.transfer.gate = trio.Event()
    began = trio.current_time()
    response = await rig.get(url(digest))
    assert response.status == 504
    assert "20 s" in errors(response)[0]["message"]
    assert trio.current_time() - began == pytest.approx(20)
    assert rig.transfer.readers == 0


async def test_a_silent_origin_ends_in_504(autojump_clock: MockClock) -> None:
    rig = Rig()
    digest = rig.origin.put_blob("app", DATA)
    rig.origin.gate = trio.Event()
    assert (await rig.head(url(digest))).status == 504


async def test_a_client_that_leaves_lets_go_of_its_reader() -> None:
    rig = Rig()
    rig.transfer.step = 1000
    digest = await linked(rig)
    response = await rig.get(url(digest))
    assert isinstance(response.body, Spans)
    parts = response.body.parts()
    await anext(parts)
    assert rig.transfer.readers == 1
    await parts.aclose()  # type: ignore[attr-defined]
    assert rig.transfer.readers == 0


async def test_many_clients_of_one_unlinked_blob_ask_once() -> None:
    rig = Rig()
    digest = rig.origin.put_blob("app", DATA)
    rig.origin.gate = trio.Event()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            responses: list[Response] = await at_once(100, lambda: rig.get(url(digest)))
            assert {response.status for response in responses} == {200}
            assert [await read(response) for response in responses[:3]] == [DATA] * 3

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        rig.origin.gate.set()
    assert rig.origin.calls == {"head_blob": 1}


async def test_namespace_is_answered() -> None:
    rig = Rig()
    digest = rig.ghcr.put_blob("org/app", DATA)
    response = await rig.get(url(digest, "org/app"), "ns=ghcr.io")
    assert header(response, "oci-namespace") == "ghcr.io"
    assert await read(response) == DATA
