"""Whole nodes in one process: the origin is asked once, every reader gets the right bytes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.core.swarm.events import StoreFailed
from p2p.errors import (
    LocalError,
    OriginError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
    PeerError,
    RemoraError,
    StoreError,
    StoreFullError,
)
from p2p.metadata.memory_private import MemoryPrivacy
from p2p.origin.api import Kind
from p2p.transfer.api import Wanted
from p2p.transfer.confined import Confined
from p2p.transfer.engine import AHEAD
from p2p.transfer.streams import PassingStream
from tests.support.cluster import APP, Cluster, Node, cluster, read_range, read_start
from tests.support.http_rig import until
from tests.support.liar import damaged, send_range
from tests.support.store_rig import MIB, Blob, blob

if TYPE_CHECKING:
    from p2p.transfer.runner import Runner

CONTENT = blob(3 * MIB + 77)
SOMEWHERE = Repository("test", "somewhere")
LONG = blob(9 * MIB + 5, seed=3)


async def at_once(*calls: Any) -> list[Any]:
    results: list[Any] = [None] * len(calls)

    async def call(index: int) -> None:
        results[index] = await calls[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(calls)):
            nursery.start_soon(call, index)
    return results


# ── one copy ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB + 5, 18 * MIB])
async def test_nodes_cold_at_once_take_one_copy_from_the_origin(size: int, algorithm: str) -> None:
    content = blob(size, algorithm=algorithm)
    async with cluster() as world:
        world.origin.hold(content)
        nodes = await world.start(4)
        read = await at_once(*(lambda n=node: n.read(content) for node in nodes))
        assert all(data == content.data for data in read)
        for node in nodes:
            await node.settled()
            assert node.kept(content) == content.data
        assert world.origin.egress == size
        statistics = [node.engine.statistics() for node in nodes]
        assert sum(one.received_origin for one in statistics) == size
        assert sum(one.received_peers for one in statistics) >= 3 * size


async def test_sizes_that_nobody_knows_before() -> None:
    contents = [blob(size, seed=9) for size in (40, 2 * MIB + 3)]
    async with cluster() as world:
        nodes = await world.start(3)
        for content in contents:
            world.origin.hold(content)
            read = await at_once(*(lambda n=n, c=content: n.read(c, size=0) for n in nodes))
            assert all(data == content.data for data in read)
        assert world.origin.egress == sum(content.size for content in contents)


async def test_manifests_come_from_peers_too() -> None:
    async with cluster() as world:
        data = b'{"schemaVersion": 2}'
        digest = world.origin.put_manifest(APP.path, "application/x", data)
        nodes = await world.start(3)
        wanted = Wanted(APP, digest, Kind.MANIFEST, 0)

        async def read(node: Node) -> bytes:
            async with node.engine.open(wanted) as stream:
                return await read_range(stream, 0, stream.size)

        assert await at_once(*(lambda n=n: read(n) for n in nodes)) == [data] * 3
        assert world.origin.egress == len(data)


async def test_a_peer_that_has_it_spares_the_origin() -> None:
    async with cluster() as world:
        seeder, node = await world.start(2)
        await seeder.hold(CONTENT)
        assert await node.read(CONTENT) == CONTENT.data
        await node.settled()
        assert world.origin.opened == 0
        account = node.engine.explain(CONTENT.digest)
        assert account is not None
        assert (account.state, account.from_origin) == ("complete", 0)
        assert account.from_peers == {seeder.id: CONTENT.size}


async def test_what_is_stored_is_given_at_once() -> None:
    async with cluster() as world:
        node = await world.node()
        await node.hold(CONTENT)
        assert await node.read(CONTENT) == CONTENT.data
        sources = await node.fetch(CONTENT)
        assert (sources.cache, sources.peers, sources.origin) == (CONTENT.size, 0, 0)
        assert node.engine.swarms() == []


@pytest.mark.slow
async def test_the_lease_holder_dies_and_another_goes_on() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = 5 * MIB
        first, second, third = await world.start(3)
        async with trio.open_nursery() as nursery, trio.open_nursery() as doomed:

            async def read_and_die() -> None:
                with pytest.raises(PeerError):
                    await first.read(LONG)

            doomed.start_soon(read_and_die)
            await until(lambda: str(LONG.digest) in world.board.granted)
            assert world.board.granted[str(LONG.digest)][0] == first.id
            results: list[bytes] = []

            def prefix(node: Node) -> int:
                have = node.engine._runners[LONG.digest].swarm.have if node.engine._runners else None
                return have.prefix() if have is not None else 0

            async def read(node: Node) -> None:
                results.append(await node.read(LONG))

            for node in (second, third):
                nursery.start_soon(read, node)
            await until(lambda: all(prefix(n) >= 3 for n in (second, third)))
            await first.kill()
            world.origin.gate.set()
        assert results == [LONG.data] * 2
        # The thief began where its own chunks ended, not from the start.
        assert world.origin.offsets[0] == 0
        assert all(offset >= 3 * MIB for offset in world.origin.offsets[1:]), world.origin.offsets


async def test_a_lease_that_is_stolen_stops_the_stream() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = 5 * MIB
        nodes = await world.start(2)
        async with trio.open_nursery() as nursery:
            results: list[bytes] = []

            async def read(node: Node) -> None:
                results.append(await node.read(LONG))

            for node in nodes:
                nursery.start_soon(read, node)
            await until(lambda: all(n.engine.statistics().chunks_verified >= 2 for n in nodes))
            world.board.steal(LONG)
            await until(lambda: world.origin.opened == 2)
            world.origin.gate.set()
        assert results == [LONG.data] * 2
        assert all(n.buffers.lent == 0 for n in nodes)


# ── readers ────────────────────────────────────────────────────────────────────────────────────────


async def test_many_readers_share_one_download() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node()
        read = await at_once(*(lambda: node.read(CONTENT) for _ in range(20)), lambda: node.fetch(CONTENT))
        assert all(data == CONTENT.data for data in read[:20])
        assert read[20].origin == CONTENT.size
        assert world.origin.opened == 1
        assert node.engine.statistics().readers == 0


async def test_a_reader_that_leaves_harms_nobody() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = 2 * MIB
        node = await world.node()
        async with trio.open_nursery() as nursery:
            results: list[bytes] = []

            async def stay() -> None:
                results.append(await node.read(CONTENT))

            nursery.start_soon(stay)
            async with node.open(CONTENT) as stream:
                assert await read_start(stream, MIB) == CONTENT.data[:MIB]
            await until(lambda: node.engine.statistics().readers == 1)
            world.origin.gate.set()
        assert results == [CONTENT.data]
        assert world.origin.opened == 1


async def test_the_last_reader_that_leaves_ends_it_and_the_rest_is_fetched_later() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = 6 * MIB
        node = await world.node(grace=0.01)
        async with node.open(LONG) as stream:
            assert await read_start(stream, 5 * MIB) == LONG.data[: 5 * MIB]
        await node.settled()
        assert node.store.partials() == [(LONG.digest, LONG.size)]
        assert node.buffers.lent == 0
        # Nobody is sent here in vain.
        assert not world.board.holdings[str(LONG.digest)]
        account = node.engine.explain(LONG.digest)
        assert account is not None
        assert account.state == "failed"
        world.origin.gate.set()
        sources = await node.fetch(LONG)
        assert sources.cache >= 5 * MIB
        assert sources.cache + sources.origin == LONG.size
        assert world.origin.offsets[1] == sources.cache
        assert node.kept(LONG) == LONG.data


async def test_one_who_comes_within_the_grace_goes_on() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = 2 * MIB
        node = await world.node(grace=30)
        async with node.open(CONTENT) as stream:
            await read_start(stream, MIB)
        world.origin.gate.set()
        assert await node.read(CONTENT) == CONTENT.data
        assert world.origin.opened == 1


async def test_one_who_comes_as_the_swarm_ends_is_served() -> None:
    """A swarm that was given up or failed just now, and is still putting its files away, takes no reader."""
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = 2 * MIB
        node = await world.node(grace=0)
        for _ in range(5):
            async with node.open(CONTENT) as stream:
                await read_start(stream, MIB)
            (runner,) = node.engine._runners.values()
            await runner.ended.wait()
        world.origin.gate.set()
        read, sources = await at_once(lambda: node.read(CONTENT), lambda: node.fetch(CONTENT))
        assert read == CONTENT.data
        assert sources.cache + sources.origin == CONTENT.size


async def test_ranges_are_answered_before_the_rest() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        seeder, node = await world.start(2)
        await seeder.hold(LONG)
        async with node.open(LONG) as stream:
            assert stream.size == LONG.size
            for start, stop in [(7 * MIB + 3, 7 * MIB + 1003), (0, 1), (LONG.size - 5, LONG.size), (5, 5)]:
                assert await read_range(stream, start, stop) == LONG.data[start:stop]


async def test_a_range_is_asked_for_first() -> None:
    async with cluster() as world:
        liar = await world.liar(LONG)
        world.board.leases = False
        node = await world.node()
        async with node.open(LONG, size=0) as stream:
            assert await read_range(stream, 6 * MIB, 6 * MIB + 10) == LONG.data[6 * MIB : 6 * MIB + 10]
            # What was asked for, and the end, which proves the list; what else was asked is chance.
            assert 6 in [start // MIB for start, _ in liar.asked[:5]]


async def test_the_last_chunk_waits_for_all_others() -> None:
    """It lies on disk, and is given to nobody while a chunk before it is missing."""
    release = trio.Event()

    async def slow_middle(stream: trio.SocketStream, first: int, stop: int) -> None:
        if first <= 4 * MIB < stop:
            await release.wait()
        await send_range(stream, LONG.data, first, stop)

    async with cluster() as world:
        world.board.leases = False
        await world.liar(LONG, answer=slow_middle)
        node = await world.node()
        taken = bytearray()
        async with node.open(LONG) as stream, trio.open_nursery() as nursery:
            runner = node.engine._runners[LONG.digest]
            end = (LONG.size - 5, LONG.size)
            nursery.start_soon(lambda: read_range(stream, *end, seen=taken.extend))
            await until(lambda: runner.partial is not None and LONG.layout.last in runner.partial.have)
            await trio.testing.wait_all_tasks_blocked()
            assert not taken
            release.set()
        assert bytes(taken) == LONG.data[-5:]


@pytest.mark.parametrize("stream_early", [True, False])
async def test_withholding_everything(stream_early: bool) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = MIB
        node = await world.node(stream=stream_early)
        taken = bytearray()
        async with node.open(CONTENT) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: read_range(stream, 0, CONTENT.size, seen=taken.extend))
            await until(lambda: node.engine.statistics().chunks_verified == 1)
            await until(lambda: len(taken) == (MIB if stream_early else 0))
            world.origin.gate.set()
            await until(lambda: len(taken) == CONTENT.size)
        assert bytes(taken) == CONTENT.data


async def test_read_ahead_fetches_what_will_be_asked_for() -> None:
    contents = [blob(MIB // 2, seed=seed) for seed in range(10)]
    async with cluster() as world:
        node = await world.node(grace=30)
        for content in contents:
            world.origin.hold(content)
        node.engine.read_ahead(tuple(node.wanted(content) for content in contents))
        await until(lambda: len(node.store.blobs()) == len(contents))
        assert world.origin.egress == sum(content.size for content in contents)
        await node.settled()
        node.engine.read_ahead((node.wanted(contents[0]),))
        assert node.engine.swarms() == []


async def test_an_image_is_read_ahead_beside_another_one_of_many_layers() -> None:
    layers, single = [blob(MIB // 2, seed=seed) for seed in range(2 * AHEAD)], blob(MIB // 2, seed=99)
    async with cluster() as world:
        node = await world.node(grace=30)
        for content in layers:
            world.origin.hold(content)
        world.origin.at(SOMEWHERE.path).blobs[single.digest] = single.data
        world.origin.gate_at = 0
        node.engine.read_ahead(tuple(node.wanted(content) for content in layers))
        node.engine.read_ahead((replace(node.wanted(single), repository=SOMEWHERE),))
        await until(lambda: len(node.engine.swarms()) == AHEAD + 1)
        assert str(single.digest) in [one.digest for one in node.engine.swarms()]
        world.origin.gate.set()
        await until(lambda: len(node.store.blobs()) == len(layers) + 1)
        await node.settled()
        await until(lambda: not node.engine._ahead)


# ── an origin that fails ───────────────────────────────────────────────────────────────────────────


FAILURES: list[OriginError] = [
    OriginNotFoundError("test", "no such blob"),
    OriginStatusError("test", "answered 503", status=503),
    OriginLimitedError("test", "429", retry_after=60.0),
    OriginUnreachableError("test", "no connection"),
]


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
async def test_readers_get_the_origins_error(failure: OriginError, known: bool, mock_clock: Any) -> None:
    mock_clock.rate = 20
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.failure = failure
        node = await world.node()

        async def read() -> Exception | None:
            try:
                await node.read(CONTENT, size=None if known else 0)
            except RemoraError as error:
                return error
            return None

        assert all(error is failure for error in await at_once(read, read, read))
        # The next one tries again.
        await node.settled()
        world.origin.failure = None
        assert await node.read(CONTENT) == CONTENT.data


@pytest.mark.slow
async def test_a_truncated_body_is_gone_on_with() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.truncate = 4 * MIB
        node = await world.node()
        assert await node.read(LONG) == LONG.data
        assert world.origin.offsets == [0, 4 * MIB, 8 * MIB]
        assert world.origin.egress == LONG.size


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (damaged(CONTENT, 0), None),
        (damaged(CONTENT, 3), None),
        (CONTENT.data[:-1], None),
        (CONTENT.data + b"x", None),
        (CONTENT.data[:-1], CONTENT.size),
        (CONTENT.data + b"x", CONTENT.size),
        (CONTENT.data, 1 << 60),
        (b"", None),
    ],
    ids=["damaged", "damaged end", "short", "long", "shorter", "longer", "absurd", "empty"],
)
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
async def test_an_origin_with_other_content(data: bytes, size: int | None, known: bool) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT, data)
        if size is not None:
            world.origin.sizes[CONTENT.digest] = size
        node = await world.node()
        taken = bytearray()

        async def read() -> None:
            async with node.open(CONTENT, size=None if known else 0) as stream:
                await read_range(stream, 0, stream.size, seen=taken.extend)

        if size == CONTENT.size and len(data) > size:
            await read()  # what it has too much is nobody's
            assert bytes(taken) == CONTENT.data
            return
        with pytest.raises(OriginProtocolError):
            await read()
        assert len(taken) < CONTENT.size
        await node.settled()
        assert node.store.find(CONTENT.digest) is None


async def test_nobody_has_it_and_there_is_no_origin() -> None:
    async with cluster() as world:
        world.board.leases = False
        node = await world.node(has_origin=False)
        with trio.move_on_after(0.1) as scope:
            await node.read(CONTENT)
        assert scope.cancelled_caught
        await node.settled()


# ── the disk ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_full_disk_streams_past_it() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node(capacity=MIB)
        async with node.open(CONTENT) as stream:
            assert isinstance(stream, PassingStream)
            assert await read_range(stream, 0, stream.size) == CONTENT.data
            assert await read_range(stream, MIB + 5, MIB + 9) == CONTENT.data[MIB + 5 : MIB + 9]
        with pytest.raises(StoreFullError):
            await node.fetch(CONTENT)
        assert node.store.find(CONTENT.digest) is None


async def test_a_full_disk_without_an_origin() -> None:
    async with cluster() as world:
        seeder = await world.node()
        await seeder.hold(CONTENT)
        node = await world.node(capacity=MIB, has_origin=False)
        with pytest.raises(StoreFullError, match="Free disk space"):
            await node.read(CONTENT)


async def test_a_store_that_fails_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = 5 * MIB
        node = await world.node()
        async with node.open(LONG) as stream:
            await read_start(stream, MIB)

            def fails(fd: int, data: Any, offset: int) -> int:
                raise OSError(5, "Input/output error")

            monkeypatch.setattr(node.store.files, "write", fails, raising=True)
            world.origin.gate.set()
            with pytest.raises(StoreError):
                await read_range(stream, MIB, LONG.size)
        monkeypatch.undo()
        await node.settled()
        assert node.buffers.lent == 0


# ── ends ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_node_that_stops_lets_its_readers_know() -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = MIB
        node = await world.node()
        async with node.open(CONTENT) as stream:
            await node.kill()
            with pytest.raises(PeerError, match="stopped"):
                await read_range(stream, 0, CONTENT.size)
        with pytest.raises(RemoraError, match="shutting down"):
            await node.read(LONG)
        node.engine.read_ahead((node.wanted(LONG),))


@pytest.mark.slow
async def test_a_swarm_that_breaks_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.hold(LONG)
        world.origin.gate_at = 2 * MIB
        node, other = await world.start(2)
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(node.open(CONTENT))
            two = await stack.enter_async_context(node.open(LONG))
            runner = node.engine._runners[CONTENT.digest]
            await until(lambda: runner.tally.origin >= MIB)
            monkeypatch.setattr(runner.swarm, "_settle", _broken)
            runner.post(_Tick())
            with pytest.raises(ZeroDivisionError):
                await read_range(one, 0, CONTENT.size)
            world.origin.gate.set()
            assert await read_range(two, 0, LONG.size) == LONG.data
        assert await other.read(CONTENT) == CONTENT.data


def _broken(now: float) -> None:
    raise ZeroDivisionError


class _Tick:
    """An event that no swarm knows."""


async def checkpoints(world: Cluster, content: Blob, stop_at: int, *, the_node: bool) -> bool:
    """Cancel a reader, or its node, at the k-th step of any task; gives whether the read came first."""
    world.origin.hold(content)
    seeder = await world.node("seeder")
    await seeder.hold(LONG)
    node = await world.node("victim", grace=0)
    counter = _Counter(stop_at)
    read = False
    with trio.CancelScope() as scope:
        counter.action = node._scope.cancel if the_node else scope.cancel
        trio.lowlevel.add_instrument(counter)
        try:
            for one in (content, LONG):
                data = await node.read(one)
                assert data == one.data
            read = True
        except (PeerError, RemoraError):
            assert the_node
        finally:
            trio.lowlevel.remove_instrument(counter)
    if not the_node:
        await node.settled()
        assert node.buffers.lent == 0
        assert node.holdings.growing(content.digest) is None
        for one in (content, LONG):
            assert await node.read(one) == one.data  # what is left is good to go on from
    return read


class _Counter(trio.abc.Instrument):
    def __init__(self, stop_at: int) -> None:
        self._left = stop_at
        self.action: Any = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self.action()


@pytest.mark.slow
@pytest.mark.parametrize("the_node", [False, True], ids=["reader", "node"])
async def test_cancelled_at_any_step(the_node: bool) -> None:
    content = blob(MIB + 9, seed=5)
    step, read = 1, False
    while not read:
        async with cluster() as world:
            read = await checkpoints(world, content, step, the_node=the_node)
        step = step + 1 if step < 10 else int(step * 1.3)
    assert step > 50


class _LateNews(trio.abc.Instrument):
    """Posts to a runner whenever its nursery has closed and it does not say so."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        nursery = self._runner._nursery
        if nursery is not None and not nursery.child_tasks and task.parent_nursery is nursery:
            self._runner.post(StoreFailed(StoreError("late", "news")))


async def test_news_that_come_as_a_node_stops_break_nothing() -> None:
    async with cluster() as world:
        world.origin.hold(LONG)
        world.origin.gate_at = MIB
        node = await world.node("victim")

        async def read() -> None:
            with pytest.raises(PeerError):
                await node.read(LONG)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until(lambda: node.engine.statistics().chunks_verified >= 1)
            runner = node.engine._runners[LONG.digest]
            late = _LateNews(runner)
            trio.lowlevel.add_instrument(late)
            node._scope.cancel()
        trio.lowlevel.remove_instrument(late)
        assert not isinstance(runner.error, RuntimeError)


async def test_absurd_sizes_of_a_manifest_are_no_crash() -> None:
    async with cluster() as world:
        node = await world.node()
        wanted = Wanted(APP, Digest.of(b"x"), size=1 << 60)
        with pytest.raises(ValueError, match="size"):
            async with node.engine.open(wanted):
                pass
        assert node.engine.swarms() == []


# ── private content ────────────────────────────────────────────────────────────────────────────────


def confined_by(records: MemoryPrivacy, private: bool = True) -> Confined:
    return Confined(records, private=lambda _: private, held=lambda _: False, changed=lambda _: None)


async def test_what_a_private_repository_brings_is_noted_first_and_proven_when_it_is_here() -> None:
    records = MemoryPrivacy()
    confined = confined_by(records)
    async with cluster() as world:
        world.origin.hold(CONTENT)
        world.origin.gate_at = MIB
        node = await world.node(confined=confined)
        async with node.open(CONTENT) as stream:
            assert await records.confined() == [(CONTENT.digest, APP, False)]
            assert not confined.reaches(APP, CONTENT.digest)
            account = node.engine.explain(CONTENT.digest)
            assert account is not None
            assert account.private
            world.origin.gate.set()
            assert await read_range(stream, 0, stream.size) == CONTENT.data
        await node.settled()
        assert await records.confined() == [(CONTENT.digest, APP, True)]
        assert confined.reaches(APP, CONTENT.digest)


async def test_a_public_repository_that_brings_what_was_confined_ends_that() -> None:
    records = MemoryPrivacy()
    await records.confine(SOMEWHERE, CONTENT.digest, proven=True)
    confined = confined_by(records, private=False)
    await confined.load()
    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node(confined=confined)
        assert await node.read(CONTENT) == CONTENT.data
        await node.settled()
        assert CONTENT.digest not in confined


async def test_a_download_of_which_the_origin_gave_nothing_proves_nothing() -> None:
    records = MemoryPrivacy()
    confined = confined_by(records)
    async with cluster() as world:
        node = await world.node(confined=confined)
        # All of it is in a partial blob that another repository's download left.
        partial = await node.store.open_partial(CONTENT.digest, CONTENT.size)
        assert await partial.append(0, memoryview(CONTENT.data))
        await partial.close()
        await records.confine(SOMEWHERE, CONTENT.digest, proven=True)
        await confined.load()
        assert await node.read(CONTENT) == CONTENT.data
        await node.settled()
        assert world.origin.egress == 0
        assert not confined.reaches(APP, CONTENT.digest)


async def test_a_database_that_fails_stops_the_download_of_what_is_private() -> None:
    class Broken(MemoryPrivacy):
        async def confine(self, repository: Repository, digest: Digest, *, proven: bool) -> None:
            raise LocalError("database", "is full")

    async with cluster() as world:
        world.origin.hold(CONTENT)
        node = await world.node(confined=confined_by(Broken()))
        for _ in range(2):
            with pytest.raises(LocalError):
                await node.read(CONTENT)
            # Nor does reading ahead, which nobody waits for; and the node lives on.
            node.engine.read_ahead((node.wanted(CONTENT),))
            await trio.testing.wait_all_tasks_blocked()
        assert world.origin.egress == 0
