import hashlib
import os

import pytest
import trio
import trio.testing

from p2p.errors import OriginProtocolError, OriginUnreachableError
from p2p.origin.api import Kind
from p2p.origin.body import ParallelBodies, Tuning
from tests.support.upstream import Registry, Reply, Request, ranged, upstream

DATA = os.urandom(1_000_003)
SMALL = Tuning(streams=4, first=100_000, parallel_from=300_000, segment=50_000, largest=200_000, slow=0.0)
ALWAYS = Tuning(streams=4, first=100_000, parallel_from=300_000, segment=50_000, slow=1e18, patience=0.0)
ALONE = Tuning(streams=1)


def tried_soon(slow: float) -> Tuning:
    """Give a tuning that tries another connection after a tenth of a second."""
    return Tuning(
        streams=3,
        first=100_000,
        parallel_from=300_000,
        segment=50_000,
        largest=200_000,
        slow=slow,
        patience=0.1,
    )


def spans(server) -> list[str]:
    return [r.headers.get("range", "all") for r in server.requests]


async def read(body) -> bytes:
    return b"".join([part async for part in body])


@pytest.fixture
def registry():
    return Registry()


async def test_small_blob_is_one_get(connect, registry):
    digest = registry.add_blob(DATA[:100_000])
    async with upstream(registry) as server, connect(server.url(), tuning=ALWAYS) as origin:
        async with origin.open("a", digest, Kind.BLOB) as body:
            assert await read(body) == DATA[:100_000]
            assert (body.size, body.offset) == (100_000, 0)
        assert len(server.requests) == 1
        assert server.sent == 100_000


async def test_middling_blob_is_two_gets_of_one_connection(connect, registry):
    digest = registry.add_blob(DATA[:300_000])
    async with upstream(registry) as server, connect(server.url(), tuning=ALWAYS) as origin:
        async with origin.open("a", digest, Kind.BLOB) as body:
            assert await read(body) == DATA[:300_000]
        assert spans(server) == ["bytes=0-99999", "bytes=100000-299999"]
        assert server.connections == 1


@pytest.mark.parametrize("tuning", [SMALL, ALWAYS, ALONE])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(("offset", "stop"), [(0, None), (0, 900_000), (123_457, None), (500_000, 500_001)])
async def test_every_way_gives_the_same_bytes_once(connect, registry, tuning, ranges, offset, stop):
    registry.ranges = ranges
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=tuning) as origin:
        async with origin.open("a", digest, Kind.BLOB, offset=offset, stop=stop) as body:
            assert (body.size, body.offset) == (len(DATA), offset)
            assert hashlib.sha256(await read(body)).digest() == hashlib.sha256(DATA[offset:stop]).digest()
        if ranges:
            assert server.sent == len(DATA[offset:stop])
        else:
            assert len(server.requests) == 1


async def test_a_fast_connection_stays_alone_and_its_segments_grow(connect, registry):
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=SMALL) as origin:
        async with origin.open("a", digest, Kind.BLOB) as body:
            assert await read(body) == DATA
            assert body.connections == 1
        assert spans(server)[:3] == ["bytes=0-99999", "bytes=100000-299999", "bytes=300000-499999"]
        assert server.connections == 1


async def test_companions_read_ahead_within_the_window(connect, registry):
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=ALWAYS) as origin:
        async with origin.open("a", digest, Kind.BLOB) as body:
            first = await anext(body)
            with trio.fail_after(5):
                while server.sent < 250_000:
                    await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            # The first segment, and three of 50,000 ahead of a reader that does not go on.
            assert server.sent == 250_000
            assert body.connections == 4
            assert first + await read(body) == DATA
        assert server.sent == len(DATA)
        assert server.connections <= 4


async def test_order_holds_though_later_segments_come_first(connect, registry):
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=ALWAYS) as origin:
        async with origin.open("a", digest, Kind.BLOB) as body:
            server.hold = trio.Event()
            got = bytearray()
            while len(got) < 100_000:
                got += await anext(body)
            await trio.testing.wait_all_tasks_blocked()
            server.hold.set()
            got += await read(body)
        assert got == DATA


async def test_a_failing_companion_ends_the_stream_where_it_failed(connect, registry):
    digest = registry.add_blob(DATA)

    def script(request: Request) -> Reply:
        if request.headers["range"].startswith("bytes=200000-"):
            full = ranged(request, DATA)
            return Reply(206, full.body, full.headers, cut=7)
        return registry(request)

    async with upstream(script) as server, connect(server.url(), tuning=ALWAYS) as origin:
        got = bytearray()

        async def take() -> None:
            async with origin.open("a", digest, Kind.BLOB) as body:
                async for part in body:
                    got.extend(part)

        with pytest.raises(OriginUnreachableError) as caught:
            await take()
        assert caught.value.subject == "up"
        assert got == DATA[:200_007]


async def test_another_size_in_a_later_range_is_refused(connect, registry):
    digest = registry.add_blob(DATA)

    def script(request: Request) -> Reply:
        return ranged(request, DATA if "bytes=0-" in request.headers["range"] else DATA + b"x")

    async with (
        upstream(script) as server,
        connect(server.url(), tuning=SMALL) as origin,
        origin.open("a", digest, Kind.BLOB) as body,
    ):
        with pytest.raises(OriginProtocolError, match="something else"):
            await read(body)


@pytest.mark.parametrize("tuning", [SMALL, ALWAYS, ALONE])
async def test_a_reader_may_leave_in_the_middle(connect, registry, tuning):
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=tuning) as origin:

        async def fail() -> None:
            async with origin.open("a", digest, Kind.BLOB) as body:
                await anext(body)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()

        async with origin.open("a", digest, Kind.BLOB) as body:
            await anext(body)
        async with origin.open("a", digest, Kind.BLOB):
            pass
        for pool in origin.session._transport._pools.values():
            assert all(connection.is_idle() for connection in pool.connections)
        async with origin.open("a", digest, Kind.BLOB) as body:
            assert await read(body) == DATA


@pytest.mark.parametrize("tuning", [SMALL, ALWAYS])
async def test_cancelled_while_it_waits(connect, registry, tuning):
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=tuning) as origin:
        server.hold = trio.Event()
        async with trio.open_nursery() as nursery:

            async def reader() -> None:
                async with origin.open("a", digest, Kind.BLOB) as body:
                    await read(body)

            nursery.start_soon(reader)
            with trio.fail_after(5):
                while len(server.requests) < 2:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        for pool in origin.session._transport._pools.values():
            assert all(connection.is_idle() for connection in pool.connections)
        server.hold.set()
        async with origin.open("a", digest, Kind.BLOB) as body:
            assert await read(body) == DATA


async def test_places_for_parallel_bodies_are_given_back(connect, registry):
    digest = registry.add_blob(DATA)
    async with upstream(registry) as server, connect(server.url(), tuning=ALWAYS) as origin:
        async with (
            origin.open("a", digest, Kind.BLOB) as one,
            origin.open("a", digest, Kind.BLOB) as two,
            origin.open("a", digest, Kind.BLOB) as three,
        ):
            for body in (one, two, three):
                assert await read(body) == DATA
            assert [body.connections for body in (one, two, three)] == [4, 4, 1]
        async with origin.open("a", digest, Kind.BLOB) as body:
            assert await read(body) == DATA
            assert body.connections == 4


def test_places():
    places = ParallelBodies(1)
    assert places.take()
    assert not places.take()
    places.give_back()
    assert places.take()


async def test_later_segments_go_where_the_first_was_redirected_until_that_ends(connect, registry):
    digest = registry.add_blob(DATA)
    signs = {"s0"}
    issued = [0]

    def storage(request: Request) -> Reply:
        if request.query["sign"][0] not in signs:
            return Reply(403)
        return ranged(request, DATA)

    def script(request: Request) -> Reply:
        location = f"{cdn.url('localhost')}/blob?sign=s{issued[0]}"
        issued[0] += 1
        return Reply(307, headers=(("location", location),))

    async with (
        upstream(storage) as cdn,
        upstream(script) as server,
        connect(server.url(), tuning=SMALL, private_addresses=True) as origin,
    ):
        async with origin.open("a", digest, Kind.BLOB) as body:
            got = b""
            async for part in body:
                got += part
                if len(got) >= 400_000:
                    signs = {f"s{n}" for n in range(1, 9)}
        assert got == DATA
        assert len(server.requests) < len(cdn.requests)
        assert len(server.requests) >= 2


async def test_a_stalled_connection_is_judged_slow(connect, registry):
    """Real time: patience is short, the upstream is held for longer."""
    digest = registry.add_blob(DATA)
    tuning = tried_soon(slow=1e7)
    async with (
        upstream(registry) as server,
        connect(server.url(), tuning=tuning) as origin,
        origin.open("a", digest, Kind.BLOB) as body,
        trio.open_nursery() as nursery,
    ):
        server.hold = trio.Event()
        got = bytearray()

        async def rest() -> None:
            async for part in body:
                got.extend(part)
            assert got == DATA
            assert body.connections >= 2

        nursery.start_soon(rest)
        await trio.testing.wait_all_tasks_blocked(cushion=0.15)
        server.hold.set()


async def test_companions_that_bring_nothing_are_given_up(connect, registry):
    """Real time: the companion takes much longer than the first connection did."""
    digest = registry.add_blob(DATA)
    tuning = tried_soon(slow=1e18)
    async with (
        upstream(registry) as server,
        connect(server.url(), tuning=tuning) as origin,
        origin.open("a", digest, Kind.BLOB) as body,
        trio.open_nursery() as nursery,
    ):
        server.hold = trio.Event()
        got = bytearray()

        async def rest() -> None:
            async for part in body:
                got.extend(part)

        nursery.start_soon(rest)
        await trio.testing.wait_all_tasks_blocked(cushion=0.15)
        first, server.hold = server.hold, trio.Event()
        first.set()
        with trio.fail_after(5):
            while len(server.requests) < 4:
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(cushion=0.5)
        server.hold.set()
    assert got == DATA
    assert body.connections == 2
    assert spans(server)[2:5] == ["bytes=300000-349999", "bytes=350000-399999", "bytes=400000-599999"]
