"""The writing half as a whole: it runs, and it says what it does not do."""

from __future__ import annotations

import pytest
import trio

from p2p.core.oci.digest import Digest
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
