"""Blob uploads as clients make them, and as they must not."""

from __future__ import annotations

import itertools

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from p2p.config import RegistrySettings
from p2p.core.oci.digest import Digest
from p2p.errors import LocalError
from p2p.notifications.api import What
from tests.support.push_rig import NAME, Bytes, Push, sha512
from tests.support.registry_rig import errors, header

DATA = bytes(range(256)) * 9


def blob_path(digest: Digest, name: str = NAME) -> str:
    return f"/v2/{name}/blobs/{digest}"


async def test_monolithic_in_one_request() -> None:
    push = Push()
    digest = Digest.of(DATA)
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={digest}", DATA)
    assert response.status == 201
    assert header(response, "location") == blob_path(digest)
    assert header(response, "docker-content-digest") == str(digest)
    assert await push.pull(blob_path(digest)) == (200, DATA)
    assert [(h.digest, h.complete) for h in push.announced] == [(str(digest), True)]
    assert [(h.what, h.repository.path) for h in push.ears.heard] == [(What.PUSH, NAME)]


async def test_monolithic_in_two() -> None:
    push = Push()
    location = await push.begin()
    response = await push("PUT", location, f"digest={Digest.of(DATA)}", DATA)
    assert response.status == 201
    assert await push.pull(header(response, "location") or "") == (200, DATA)
    assert (await push("GET", location)).status == 404


async def test_chunk_by_chunk() -> None:
    push = Push()
    location = await push.begin()
    first = await push("PATCH", location, "", DATA[:1000], content_range="0-999", content_length="1000")
    assert (first.status, header(first, "range")) == (202, "0-999")
    told = await push("GET", location)
    assert (told.status, header(told, "range"), header(told, "location")) == (204, "0-999", location)
    again = await push("PATCH", location, "", DATA[:1000], content_range="0-999", content_length="1000")
    assert (again.status, header(again, "range"), header(again, "location")) == (416, "0-999", location)
    ahead = await push("PATCH", location, "", DATA[2000:], content_range=f"2000-{len(DATA) - 1}")
    assert ahead.status == 416
    last = await push(
        "PUT", location, f"digest={Digest.of(DATA)}", DATA[1000:], content_range=f"1000-{len(DATA) - 1}"
    )
    assert last.status == 201
    assert await push.pull(blob_path(Digest.of(DATA))) == (200, DATA)


async def test_a_last_chunk_out_of_order_ends_nothing() -> None:
    push = Push()
    location = await push.begin()
    digest = Digest.of(DATA)
    wrong = await push("PUT", location, f"digest={digest}", DATA[9:], content_range=f"9-{len(DATA) - 1}")
    assert (wrong.status, header(wrong, "range")) == (416, "0-0")
    assert (await push("PUT", location, f"digest={digest}", DATA)).status == 201


async def test_streamed() -> None:
    push = Push()
    location = await push.begin()
    assert (await push("PATCH", location, "", Bytes(DATA[:5], DATA[5:]))).status == 202
    assert (await push("PUT", location, f"digest={Digest.of(DATA)}")).status == 201


@pytest.mark.parametrize("query", ["", "digest-algorithm=sha512"])
async def test_sha512_told_before_or_at_the_end(query: str) -> None:
    push = Push()
    location = await push.begin(query=query)
    await push("PATCH", location, "", DATA)
    response = await push("PUT", location, f"digest={sha512(DATA)}")
    assert (response.status, header(response, "docker-content-digest")) == (201, str(sha512(DATA)))
    assert await push.pull(blob_path(sha512(DATA))) == (200, DATA)


async def test_nothing_is_a_blob() -> None:
    push = Push()
    digest = await push.blob(b"")
    assert await push.pull(blob_path(digest)) == (200, b"")


async def test_another_digest_is_refused_and_ends_the_upload() -> None:
    push = Push()
    location = await push.begin()
    await push("PATCH", location, "", DATA)
    response = await push("PUT", location, f"digest={Digest.of(b'other')}")
    assert (response.status, errors(response)[0]["code"]) == (400, "DIGEST_INVALID")
    assert (await push("GET", location)).status == 404
    assert not push.store.uploads.sessions()
    assert (await push("GET", blob_path(Digest.of(DATA)))).status == 404
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"digest={Digest.of(b'x')}", DATA)
    assert response.status == 400
    assert not push.store.uploads.sessions()


@pytest.mark.parametrize("query", ["", "digest=", "digest=md5:12", "digest=sha256:12"])
async def test_an_end_without_a_digest(query: str) -> None:
    push = Push()
    location = await push.begin()
    response = await push("PUT", location, query, DATA)
    assert (response.status, errors(response)[0]["code"]) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("span", ["x", "5-", "-5", "9-3", "0-99999999999999999999", "0--1", "bytes=0-5"])
async def test_ranges_that_are_none(span: str) -> None:
    push = Push()
    response = await push("PATCH", await push.begin(), "", DATA, content_range=span)
    assert response.status in (400, 416)


@pytest.mark.parametrize(("span", "length"), [("0-99", "2304"), ("0-99", "99")])
async def test_a_range_and_a_length_that_disagree(span: str, length: str) -> None:
    push = Push()
    location = await push.begin()
    response = await push("PATCH", location, "", DATA, content_range=span, content_length=length)
    assert (response.status, errors(response)[0]["code"]) == (400, "SIZE_INVALID")


@pytest.mark.parametrize("data", [DATA[:50], DATA])
async def test_a_body_that_is_not_as_long_as_its_range(data: bytes) -> None:
    push = Push()
    response = await push("PATCH", await push.begin(), "", data, content_range="0-99")
    assert response.status == 400


async def test_nothing_is_kept_of_a_part_that_runs_over_its_range() -> None:
    push = Push()
    location = await push.begin()
    body = Bytes(DATA[:30], DATA[30:])
    assert (await push("PATCH", location, "", body, content_range="0-49")).status == 400
    assert header(await push("GET", location), "range") == "0-29"


async def test_cancel() -> None:
    push = Push()
    location = await push.begin()
    await push("PATCH", location, "", DATA)
    assert (await push("DELETE", location)).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        response = await push(method, location)
        assert (response.status, errors(response)[0]["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert not push.store.uploads.sessions()


async def test_what_came_of_a_broken_body_is_kept() -> None:
    push = Push()
    location = await push.begin()
    broken = await push("PATCH", location, "", Bytes(DATA[:700], broken=True))
    assert broken.status == 400
    assert header(await push("GET", location), "range") == "0-699"
    assert (await push("PUT", location, f"digest={Digest.of(DATA)}", DATA[700:])).status == 201


async def test_another_repository_can_not_go_on() -> None:
    push = Push()
    location = await push.begin()
    elsewhere = location.replace("team/app", "team/other")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert (await push(method, elsewhere, f"digest={Digest.of(DATA)}", DATA)).status == 404
    assert (await push("GET", location)).status == 204


async def test_one_request_at_a_time() -> None:
    push = Push()
    location = await push.begin()
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(push, "PATCH", location, "", Bytes(DATA[:10], gate=gate))
        await wait_all_tasks_blocked()
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            response = await push(method, location, f"digest={Digest.of(DATA)}", DATA)
            assert response.status == 409, method
        gate.set()
    assert header(await push("GET", location), "range") == "0-9"
    assert (await push("PUT", location, f"digest={Digest.of(DATA)}", DATA[10:])).status == 201


# ── mounts ─────────────────────────────────────────────────────────────────────────────────────────


async def test_mount_from_another_repository() -> None:
    push = Push()
    digest = await push.blob(DATA)
    response = await push("POST", "/v2/team/other/blobs/uploads/", f"mount={digest}&from={NAME}")
    assert (response.status, header(response, "location")) == (201, blob_path(digest, "team/other"))
    assert await push.pull(blob_path(digest, "team/other")) == (200, DATA)
    assert push.ears.heard[-1].what is What.MOUNT
    assert push.ears.heard[-1].source is not None


async def test_mount_from_anywhere() -> None:
    push = Push()
    digest = await push.blob(DATA)
    assert (await push("POST", "/v2/team/other/blobs/uploads/", f"mount={digest}")).status == 201


@pytest.mark.parametrize("source", ["", "&from=team/none", "&from=test/app", "&from=ghcr.io/app"])
async def test_a_mount_of_what_is_not_there_is_an_upload(source: str) -> None:
    push = Push()
    push.origin.put_blob("app", DATA)
    response = await push("POST", f"/v2/{NAME}/blobs/uploads/", f"mount={Digest.of(DATA)}{source}")
    assert response.status == 202
    location = header(response, "location") or ""
    assert (await push("PUT", location, f"digest={Digest.of(DATA)}", DATA)).status == 201


async def test_a_mount_from_a_name_that_nobody_has_is_an_upload() -> None:
    push = Push(registry_settings=RegistrySettings(default_upstream="docker.io"))
    query = f"mount={Digest.of(DATA)}&from=some.host/x"
    assert (await push("POST", f"/v2/{NAME}/blobs/uploads/", query)).status == 202


async def test_what_is_cached_of_an_upstream_is_not_mounted() -> None:
    """CVE-2024-39897: that bytes are here proves nothing."""
    push = Push()
    upload = await push.store.uploads.begin("cached")
    await upload.write(DATA)
    await upload.finish(Digest.of(DATA))
    assert (await push("POST", f"/v2/{NAME}/blobs/uploads/", f"mount={Digest.of(DATA)}")).status == 202
    assert (await push("HEAD", blob_path(Digest.of(DATA)))).status == 404


@pytest.mark.parametrize("name", ["test/app", "app", "ghcr.io/org/app"])
async def test_upstreams_take_no_pushes(name: str) -> None:
    push = Push()
    response = await push("POST", f"/v2/{name}/blobs/uploads/")
    assert (response.status, header(response, "allow")) == (405, "GET, HEAD")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(DATA)), max_size=6))
def test_any_chunks_give_the_same_blob(cuts: list[int]) -> None:
    async def run() -> None:
        push = Push()
        location = await push.begin()
        edges = [0, *sorted(cuts), len(DATA)]
        for start, stop in itertools.pairwise(edges):
            assert (await push("PATCH", location, "", DATA[start:stop])).status == 202
        assert (await push("PUT", location, f"digest={Digest.of(DATA)}")).status == 201
        assert await push.pull(blob_path(Digest.of(DATA))) == (200, DATA)

    trio.run(run)


async def test_an_end_that_fails_can_be_tried_again() -> None:
    push = Push()
    location = await push.begin()
    await push("PATCH", location, "", DATA)
    add_blob = push.hosting.add_blob

    async def fail(*_: object, **__: object) -> bool:
        raise LocalError("metadata", "is locked", "Wait")

    push.hosting.add_blob = fail  # type: ignore[method-assign]
    query = f"digest={Digest.of(DATA)}"
    assert (await push("PUT", location, query)).status == 500
    push.hosting.add_blob = add_blob  # type: ignore[method-assign]
    # Its bytes are in the store by now, but nobody's: the client begins anew.
    again = await push("PUT", location, query)
    assert (again.status, errors(again)[0]["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")
    await push.blob(DATA)
    assert await push.pull(blob_path(Digest.of(DATA))) == (200, DATA)
    assert not push.store.uploads.sessions()


async def test_a_cancel_that_is_cancelled_leaves_nothing_in_hand() -> None:
    push = Push()
    location = await push.begin()
    await push("PATCH", location, "", DATA)
    with trio.CancelScope() as scope:
        end_upload = push.hosting.end_upload

        async def cancelled(session: str) -> bool:
            scope.cancel()
            await trio.lowlevel.checkpoint()
            return await end_upload(session)

        push.hosting.end_upload = cancelled  # type: ignore[method-assign]
        await push("DELETE", location)
    assert scope.cancelled_caught
    push.hosting.end_upload = end_upload  # type: ignore[method-assign]
    assert (await push("GET", location)).status == 404
    assert not push.store.uploads.sessions()


async def test_a_row_without_its_bytes_is_not_mounted() -> None:
    """It would be a promise that can't be kept: the client sends the bytes."""
    push = Push()
    digest = await push.blob(DATA)
    await push.store.remove(digest)
    mounted = await push("POST", "/v2/team/other/blobs/uploads/", f"mount={digest}&from={NAME}")
    assert mounted.status == 202
