"""Prefetch intents over the front end's in-memory twins: whole images, kept, and told about truly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.config import PrivateSettings
from p2p.core.oci.descriptor import Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX
from p2p.core.oci.reference import Repository
from p2p.core.wire.tracker import Intent, IntentCancel, IntentProgress
from p2p.errors import OriginUnreachableError, StoreFullError
from p2p.node import prefetch
from p2p.node.prefetch import BLOBS, Prefetcher, host_platform, split_image
from tests.support.registry_rig import Rig


class World:
    """A rig, its prefetcher, and what that reported and pinned."""

    def __init__(self, private: PrivateSettings | None = None) -> None:
        self.rig = Rig(private=private)
        self.pinned: list[Digest] = []
        self.told: list[IntentProgress] = []
        self.ended = trio.Event()
        self.prefetcher = Prefetcher(
            upstreams=self.rig.registry.upstreams,
            puller=self.rig.registry.puller,
            transfer=self.rig.transfer,
            pin=self.pin,
            report=self.report,
        )

    async def pin(self, digest: Digest) -> None:
        await trio.lowlevel.checkpoint()
        self.pinned.append(digest)

    def report(self, progress: IntentProgress) -> None:
        self.told.append(progress)
        if progress.state in ("done", "failed"):
            self.ended.set()
            self.ended = trio.Event()

    async def end(self) -> IntentProgress:
        """Wait for the next image to end."""
        with trio.fail_after(5):
            await self.ended.wait()
        return self.told[-1]

    async def pull(self, *images: str, job: str = "job") -> IntentProgress:
        self.prefetcher.take(Intent(job, images))
        return await self.end()


@asynccontextmanager
async def prefetching() -> AsyncIterator[World]:
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.prefetcher.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_an_image_is_pulled_whole_pinned_and_told_about() -> None:
    async with prefetching() as world:
        rig = world.rig
        image = rig.origin.put_image("app", "1", [b"one", b"three"])
        rig.transfer.peers[Digest.of(b"one")] = b"one"
        rig.transfer.complete[Digest.of(b"three")] = b"three"
        last = await world.pull("test/app:1")
        states = [progress.state for progress in world.told]
        assert states == ["resolving", "pulling", "done"]
        manifest = rig.origin.manifests["app", "1"][1]
        assert last.total == len(manifest) + 3 + 5 + len(b"{}{}")
        assert dict(last.sources) == {"cache": 5, "peers": 3, "origin": last.total - 8}
        assert set(world.pinned) == set(rig.transfer.complete)
        assert image in world.pinned
        assert {one.size for one in rig.transfer.fetched if one.digest == Digest.of(b"three")} == {5}


async def test_of_an_index_this_hosts_platform_is_taken() -> None:
    async with prefetching() as world:
        origin = world.rig.origin
        own, other = host_platform(), Platform("linux", "s390x")
        images = {
            platform: origin.put_image("app", None, [platform.architecture.encode()])
            for platform in (other, own)
        }
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": origin.manifests["app", str(digest)][0],
                    "digest": str(digest),
                    "size": len(origin.manifests["app", str(digest)][1]),
                    "platform": {
                        "os": platform.os,
                        "architecture": platform.architecture,
                        **({"variant": platform.variant} if platform.variant else {}),
                    },
                }
                for platform, digest in images.items()
            ],
        }
        top = origin.put_manifest("app", json.dumps(index).encode(), OCI_INDEX, "multi")
        assert (await world.pull("test/app:multi")).state == "done"
        kept = set(world.rig.transfer.complete)
        assert {top, images[own], Digest.of(own.architecture.encode())} <= kept
        assert not {images[other], Digest.of(b"s390x")} & kept


async def test_an_index_without_this_platform_fails_and_names_it() -> None:
    async with prefetching() as world:
        origin = world.rig.origin
        digest = origin.put_image("app", None)
        entry = {
            "mediaType": origin.manifests["app", str(digest)][0],
            "digest": str(digest),
            "size": len(origin.manifests["app", str(digest)][1]),
            "platform": {"os": "plan9", "architecture": "vax"},
        }
        data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
        origin.put_manifest("app", data, OCI_INDEX, "odd")
        last = await world.pull("test/app:odd")
        assert last.state == "failed"
        assert host_platform().architecture in last.detail
        assert "test/app:odd" in last.detail


async def test_by_digest_no_tag_is_asked_for() -> None:
    async with prefetching() as world:
        digest = world.rig.origin.put_image("app", None)
        assert (await world.pull(f"test/app@{digest}")).state == "done"


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("test/app:none", "has no manifest none"),
        ("test/app@sha256:short", "digest"),
        ("test/UPPER:1", "UPPER"),
        ("test/app:", "tag"),
    ],
)
async def test_what_cannot_be_found_or_read_says_so(image: str, words: str) -> None:
    async with prefetching() as world:
        world.rig.origin.put_image("app", "1")
        last = await world.pull(image)
        assert (last.state, last.image) == ("failed", image)
        assert words in last.detail


async def test_an_origin_that_is_down_fails_the_image_and_not_the_others() -> None:
    async with prefetching() as world:
        world.rig.origin.error = OriginUnreachableError("test", "no connection")
        world.rig.ghcr.put_image("app", "1")
        world.prefetcher.take(Intent("job", ("test/app:1", "ghcr.io/app:1")))
        await world.end()
        await world.end()
        ends = {one.image: one.state for one in world.told if one.state in ("done", "failed")}
        assert ends == {"test/app:1": "failed", "ghcr.io/app:1": "done"}


async def test_a_blob_that_fails_is_named_and_the_rest_is_kept() -> None:
    async with prefetching() as world:
        rig = world.rig
        rig.origin.put_image("app", "1", [b"one", b"two"])
        rig.transfer.broken[Digest.of(b"one")] = StoreFullError("store", "no room")
        last = await world.pull("test/app:1")
        assert (last.state, last.detail) == ("failed", "store: no room")
        assert Digest.of(b"two") in rig.transfer.complete


async def test_a_fault_of_our_own_fails_the_image_and_not_the_node() -> None:
    async with prefetching() as world:
        rig = world.rig
        rig.origin.put_image("app", "1", [b"one"])
        rig.transfer.broken[Digest.of(b"one")] = ExceptionGroup("", [ZeroDivisionError("broken")])
        last = await world.pull("test/app:1")
        assert last.state == "failed"
        assert "ZeroDivisionError" in last.detail
        rig.transfer.broken.clear()
        assert (await world.pull("test/app:1", job="again")).state == "done"


async def test_a_job_that_is_cancelled_ends_and_reports_no_more() -> None:
    async with prefetching() as world:
        rig = world.rig
        rig.origin.put_image("app", "1", [b"one"])
        rig.transfer.fetch_gate = trio.Event()
        world.prefetcher.take(Intent("job", ("test/app:1",)))
        await wait_all_tasks_blocked()
        assert world.told[-1].state == "pulling"
        before = len(world.told)
        world.prefetcher.take(IntentCancel("job"))
        world.prefetcher.take(IntentCancel("unknown"))
        rig.transfer.fetch_gate.set()
        await wait_all_tasks_blocked()
        assert len(world.told) == before
        assert Digest.of(b"one") not in rig.transfer.complete
        assert (await world.pull("test/app:1")).state == "done"


async def test_a_job_cancelled_before_it_began_and_asked_for_again() -> None:
    """All in one breath, as a tracker's channel may deliver it."""
    async with prefetching() as world:
        world.rig.origin.put_image("app", "1")
        world.prefetcher.take(Intent("job", ("test/app:1",)))
        world.prefetcher.take(IntentCancel("job"))
        await wait_all_tasks_blocked()
        assert world.told == []
        world.prefetcher.take(Intent("job", ("test/app:1",)))
        world.prefetcher.take(IntentCancel("job"))
        assert (await world.pull("test/app:1")).state == "done"
        assert [one.state for one in world.told] == ["resolving", "pulling", "done"]


async def test_an_intent_that_comes_twice_is_one_job() -> None:
    async with prefetching() as world:
        world.rig.origin.put_image("app", "1")
        world.prefetcher.take(Intent("job", ("test/app:1",)))
        assert (await world.pull("test/app:1")).state == "done"
        await wait_all_tasks_blocked()
        assert [one.state for one in world.told].count("done") == 1


async def test_progress_is_told_while_it_lasts(autojump_clock: MockClock) -> None:
    async with prefetching() as world:
        rig = world.rig
        rig.origin.put_image("app", "1", [b"one"])
        rig.transfer.fetch_gate = trio.Event()
        world.prefetcher.take(Intent("job", ("test/app:1",)))
        await trio.sleep(prefetch.REPORT_SECONDS * 3.5)
        assert [one.state for one in world.told] == ["resolving", *["pulling"] * 4]
        rig.transfer.fetch_gate.set()
        assert (await world.end()).state == "done"


async def test_only_so_many_blobs_are_asked_for_at_once() -> None:
    async with prefetching() as world:
        rig = world.rig
        rig.origin.put_image("app", "1", [b"layer %d" % n for n in range(20)])
        rig.transfer.fetch_gate = trio.Event()
        world.prefetcher.take(Intent("job", ("test/app:1",)))
        await wait_all_tasks_blocked()
        assert len(rig.transfer.fetched) == BLOBS
        rig.transfer.fetch_gate.set()
        assert (await world.end()).state == "done"
        assert len(rig.transfer.fetched) == 22


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("app", ("app", "latest")),
        ("app:1", ("app", "1")),
        ("host:5000/app", ("host:5000/app", "latest")),
        ("host:5000/app:1", ("host:5000/app", "1")),
    ],
)
def test_names_of_images(image: str, parts: tuple[str, str]) -> None:
    digest = Digest.of(b"")
    assert split_image(image) == (*parts, None)
    assert split_image(f"{image}@{digest}") == (*parts, digest)


@pytest.mark.parametrize(
    ("machine", "architecture", "variant"),
    [("x86_64", "amd64", ""), ("aarch64", "arm64", ""), ("armv7l", "arm", "v7"), ("riscv64", "riscv64", "")],
)
def test_this_hosts_platform_as_images_name_it(
    machine: str, architecture: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch.platform, "machine", lambda: machine)
    assert host_platform() == Platform("linux", architecture, variant)


async def test_a_private_image_is_prefetched_and_known_as_such_before_it_is_asked_for() -> None:
    world = World(PrivateSettings())
    rig = world.rig
    rig.origin.credentials = True
    rig.origin.put_image("org/secret", "1", [b"one"])
    rig.origin.put_image("org/open", "1", [b"two"])
    rig.origin.readers["org/secret"] = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(world.prefetcher.run)
        for name in ("secret", "open"):
            assert (await world.pull(f"test/org/{name}:1", job=name)).state == "done"
        nursery.cancel_scope.cancel()
    assert [path for path, *_ in rig.origin.asked] == ["org/secret", "org/open"]
    assert rig.visibility.is_private(Repository("test", "org/secret"))
    assert not rig.visibility.is_private(Repository("test", "org/open"))
    assert {repository for repository, *_ in rig.references.told} == {"test/org/open"}
