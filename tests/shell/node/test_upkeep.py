"""Collections and scrubs on demand, told in lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from p2p.core.oci.error import RegistryError
from p2p.errors import LocalError, StoreError
from p2p.node.upkeep import BEAT, Tell, lines, tell_bad
from tests.support.push_rig import APP, NAME, Push
from tests.support.upkeep_rig import corrupt, lines_of, upkeep_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from p2p.core.oci.digest import Digest
    from p2p.net.message import Takeover

DATA = b"some blob"


async def told(takeover: Takeover) -> list[Any]:
    """All that it says to a client who waits for the end."""
    data = b""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await takeover.run(theirs)
            await theirs.aclose()

        nursery.start_soon(run)
        async for part in ours:
            data += part
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    return lines_of(data)


async def garbage(push: Push) -> Digest:
    digest = await push.blob(DATA)
    assert (await push("DELETE", f"/v2/{NAME}/blobs/{digest}")).status == 202
    return digest


async def test_a_collection() -> None:
    push = Push()
    digest = await garbage(push)
    upkeep = upkeep_of(push)
    kept = await push.blob(b"leased")
    line = {"digest": str(digest), "size": len(DATA)}
    summary = {
        "dry_run": True,
        "blobs": 1,
        "bytes": len(DATA),
        "queued": 2,
        "overdue": 1,
        "retries": 0,
        "collects": True,
    }
    for early in (False, True):
        assert await told(upkeep.collect(dry_run=True, early=early)) == [line, {"summary": summary}]
    assert push.store.find(digest) is not None
    summary |= {"dry_run": False, "queued": 1, "overdue": 0}
    assert await told(upkeep.collect(dry_run=False, early=False)) == [line, {"summary": summary}]
    assert push.store.find(digest) is None
    summary |= {"blobs": 0, "bytes": 0, "retries": 1}
    assert await told(upkeep.collect(dry_run=False, early=True)) == [{"summary": summary}]
    assert push.store.find(kept) is not None


async def test_a_scrub() -> None:
    push = Push()
    upkeep = upkeep_of(push)
    good, bad = await push.blob(DATA), await push.blob(b"rotten")
    corrupt(push, bad)
    (first, only, summary) = await told(await upkeep.scrub([good, good]))
    assert first == {"blobs": 1, "bytes": len(DATA)}
    assert only == {"digest": str(good), "size": len(DATA), "state": "good", "cause": ""}
    assert summary == {"summary": {"good": 1, "bad": 0, "failed": 0, "gone": 0}}
    with capture_logs() as logs:
        (first, *states, summary) = await told(await upkeep.scrub())
    assert first["blobs"] == 2
    assert {one["digest"]: one["state"] for one in states} == {str(good): "good", str(bad): "bad"}
    assert summary["summary"] == {"good": 1, "bad": 1, "failed": 0, "gone": 0}
    assert [(one["log_level"], one["digest"]) for one in logs] == [("error", str(bad))]
    assert push.store.find(bad) is None
    with pytest.raises(RegistryError, match="is not in the store"):
        await upkeep.scrub([bad])
    assert (await told(await upkeep.scrub()))[0]["blobs"] == 1


async def test_a_scrub_of_what_went_or_cannot_be_read() -> None:
    push = Push()
    upkeep = upkeep_of(push)
    first, second = await push.blob(DATA), await push.blob(b"other")
    work = await upkeep.scrub([first, second])
    await push.store.remove(first)

    async def refuse(digest: Digest, *, share: float = 1.0) -> bool:
        if digest == first:
            raise KeyError(str(digest))
        raise StoreError(str(digest), "input/output error")

    push.store.scrub_one = refuse  # type: ignore[method-assign]
    (_, *states, summary) = await told(work)
    assert [one["state"] for one in states] == ["gone", "failed"]
    assert "input/output error" in states[1]["cause"]
    assert summary["summary"] == {"good": 0, "bad": 0, "failed": 1, "gone": 1}


async def test_a_failure_is_the_last_line() -> None:
    async def work(tell: Tell) -> Mapping[str, object]:
        tell({"a": 1})
        await trio.lowlevel.checkpoint()
        raise LocalError("metadata database", "locked")

    assert await told(lines(work)) == [{"a": 1}, {"error": "metadata database: locked"}]


async def test_a_client_that_leaves_ends_the_work(autojump_clock: object) -> None:
    cancelled = trio.Event()

    async def work(tell: Tell) -> Mapping[str, object]:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        return {}

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines(work).run, theirs)
        await ours.send_all(b"POST /gc HTTP/1.1\r\n\r\n")
        with trio.fail_after(10 * BEAT):
            data = bytes(await ours.receive_some())
            while not data.endswith(b"\r\n\r\n\n"):  # it says that it is still at it
                data += bytes(await ours.receive_some())
        assert not cancelled.is_set()
        await ours.aclose()
        with trio.fail_after(5):
            await cancelled.wait()


async def test_a_scrub_stops_in_the_middle_of_its_blobs() -> None:
    push = Push()
    for number in range(3):
        await push.blob(DATA + bytes([number]))
    begun: list[Digest] = []

    async def wait(digest: Digest, *, share: float = 1.0) -> bool:
        begun.append(digest)
        await trio.sleep_forever()
        return True

    push.store.scrub_one = wait  # type: ignore[method-assign]
    work = await upkeep_of(push).scrub()
    ours, theirs = memory_stream_pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work.run, theirs)
            await wait_all_tasks_blocked()
            await ours.aclose()
    assert len(begun) == 1


def test_a_bad_blob_is_named_in_the_log() -> None:
    from p2p.core.oci.digest import Digest

    with capture_logs() as logs:
        tell_bad(Digest.of(b""))
    assert logs[0]["log_level"] == "error"
    assert logs[0]["digest"] == str(Digest.of(b""))


async def test_leases_hold_whatever_is_asked() -> None:
    push = Push()
    digest = await push.blob(DATA)
    await push.hosting.hold(APP, digest, lease=datetime.now(UTC) + timedelta(days=9))
    (summary,) = await told(upkeep_of(push).collect(dry_run=False, early=True))
    assert summary["summary"]["blobs"] == 0
    assert push.store.find(digest) is not None
