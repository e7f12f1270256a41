"""The peer port over real sockets: whole blobs, growing ones, and nothing else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

from p2p.config import StoreSettings
from p2p.core.swarm.reputation import Reputation
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.peer import PeerHello
from p2p.store.memory import MemoryStore
from p2p.transfer.api import TransferStatistics
from p2p.transfer.holdings import Holdings
from p2p.transfer.limits import BURST_SECONDS, MOST_SENT, Limiter
from p2p.transfer.links import Links
from p2p.transfer.seeder import SLOT_RATE, Seeder
from tests.support.cluster import open_files
from tests.support.http_rig import Client, Rig, until
from tests.support.store_rig import HASHER, MIB, blob, put

if TYPE_CHECKING:
    from collections.abc import Container

    from p2p.core.oci.digest import Digest

CONTENT = blob(3 * MIB + 5)
PATH = f"/p2p/v1/blobs/{CONTENT.digest}"


@dataclass
class Port:
    rig: Rig
    server: Any
    store: MemoryStore
    holdings: Holdings
    seeder: Seeder
    statistics: TransferStatistics

    async def client(self, **more: Any) -> Client:
        return await self.rig.connect(self.server, **more)

    async def get(self, *headers: str, path: str = PATH) -> Any:
        client = await self.client()
        answer = await client.get(path, *headers)
        await client.stream.aclose()
        return answer


async def _find(message: Any) -> Any:
    raise NotImplementedError


@asynccontextmanager
async def port(
    uploads: int = 64, confined: Container[Digest] = (), limit: Limiter | None = None
) -> AsyncIterator[Port]:
    before = open_files()
    store = MemoryStore(StoreSettings(minimum_free=0), hasher=HASHER)
    await store.recover()
    holdings = Holdings(store, confined, rng=random.Random(0))
    statistics = TransferStatistics()
    hello = PeerHello(PROTOCOL_VERSION, "a" * 32, "me", 1)
    links = Links(hello, holdings, Reputation(), met=lambda _: None, find=_find)
    seeder = Seeder(store, holdings, links, statistics, uploads, limit)
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery)
        server = await rig.serve(seeder.handle)
        yield Port(rig, server, store, holdings, seeder, statistics)
        for stream in rig.streams:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()
    store.close()
    assert not open_files() - before


async def test_ranges_of_a_complete_blob() -> None:
    async with port() as at:
        await put(at.store, CONTENT)
        client = await at.client()
        for first, last in [(0, 0), (5, MIB + 5), (0, CONTENT.size - 1)]:
            answer = await client.get(PATH, f"Range: bytes={first}-{last}")
            assert answer.status == 206
            assert answer.headers["content-range"] == f"bytes {first}-{last}/{CONTENT.size}"
            assert answer.body == CONTENT.data[first : last + 1]
        assert (await client.get(PATH)).body == CONTENT.data
        assert at.statistics.sent_peers == 1 + MIB + 1 + 2 * CONTENT.size


async def test_of_a_growing_blob_what_holds_and_nothing_else() -> None:
    async with port() as at:
        partial = await at.store.open_partial(CONTENT.digest, CONTENT.size)
        partial.adopt(CONTENT.midstates)
        await partial.write(1, CONTENT.chunks(1, 2))
        at.holdings.begin(partial)
        cases = {
            f"{MIB}-{3 * MIB - 1}": 206,
            f"{MIB + 7}-{MIB + 7}": 206,
            f"{MIB - 1}-{MIB + 5}": 404,
            f"{2 * MIB}-{3 * MIB}": 404,
            "0-0": 404,
            f"{CONTENT.size - 1}-{CONTENT.size}": 416,
            "5-4": 416,
            "5-": 416,
            "-5": 416,
            "0-1,5-6": 416,
            "x-y": 416,
            "0-" + "9" * 50: 416,
        }
        for span, status in cases.items():
            answer = await at.get(f"Range: bytes={span}")
            assert answer.status == status, span
        assert (await at.get()).status == 416
        assert (await at.get(f"Range: bytes={MIB}-{MIB + 9}")).body == CONTENT.data[MIB : MIB + 10]
        await partial.close()


@pytest.mark.slow
async def test_an_answer_outlives_what_it_is_read_from() -> None:
    """Completed, evicted or discarded in the middle: who began to read reads on."""
    content = blob(24 * MIB)
    async with port() as at:
        for end in ("evicted", "completed", "discarded"):
            partial = await at.store.open_partial(content.digest, content.size)
            assert await partial.append(0, memoryview(content.data))
            if end == "evicted":
                await partial.commit()
                await partial.close()
            else:
                at.holdings.begin(partial)
            client = await at.client(receive_buffer=4096)
            await client.send(
                f"GET {PATH.replace(str(CONTENT.digest), str(content.digest))} HTTP/1.1\r\nHost: x\r\n"
                f"Range: bytes=0-{content.size - 1}\r\n\r\n".encode()
            )
            head = await client.head()
            assert head is not None
            assert head.status == 206
            if end == "completed":
                await partial.commit()
            if end == "discarded":
                at.holdings.end(content.digest)
                await partial.discard()
            elif end == "completed":
                at.holdings.end(content.digest)
                await partial.close()
            await at.store.remove(content.digest)
            while len(client.buffer) < content.size:
                assert await client._more()
            assert bytes(client.buffer) == content.data


@pytest.mark.slow
async def test_few_answers_at_once_and_places_are_given_back() -> None:
    content = blob(24 * MIB)
    path = f"/p2p/v1/blobs/{content.digest}"
    async with port(uploads=2) as at:
        await put(at.store, content)
        slow = [await at.client(receive_buffer=4096) for _ in range(2)]
        for client in slow:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await client.head()
        refused = await at.get("Range: bytes=0-1", path=path)
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        for client in slow:
            await trio.aclose_forcefully(client.stream)
        await until(lambda: at.seeder._under_way == 0)
        assert (await at.get("Range: bytes=0-1", path=path)).status == 206
        # One that can't be satisfied gives its place back too.
        for _ in range(3):
            assert (await at.get("Range: bytes=999999999-", path=path)).status == 416
        assert at.seeder._under_way == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (PATH, 404),
        ("/", 404),
        ("/v2/", 404),
        ("/p2p/v1/blobs/", 400),
        ("/p2p/v1/blobs/sha256:xyz", 400),
        ("/p2p/v1/blobs/../../etc/passwd", 400),
        ("/p2p/v1/blobs/%2e%2e%2fetc", 400),
        (PATH + "/more", 400),
        ("/p2p/v1/exchange", 404),
    ],
)
async def test_what_is_not_here(path: str, status: int) -> None:
    async with port() as at:
        client = await at.client()
        if path.endswith("exchange"):
            await client.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            assert (await client.answer()).status == status
        else:
            assert (await client.get(path)).status == status
            # The connection goes on.
            assert (await client.get("/")).status == 404


async def test_other_methods() -> None:
    async with port() as at:
        await put(at.store, CONTENT)
        for method in ("HEAD", "PUT", "DELETE", "POST"):
            client = await at.client()
            await client.send(f"{method} {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            assert (await client.answer(method)).status == 404


async def test_the_exchange_without_a_handshake() -> None:
    async with port() as at:
        client = await at.client()
        await client.send(b"GET /p2p/v1/exchange HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"101" not in await client.rest()
        await put(at.store, CONTENT)
        assert (await at.get("Range: bytes=0-1")).status == 206


async def test_a_blob_that_vanished_from_the_disk() -> None:
    async with port() as at:
        await put(at.store, CONTENT)
        at.store.files.unlink(at.store._paths.blob(CONTENT.digest))
        assert (await at.get("Range: bytes=0-1")).status == 404


async def test_what_is_confined_is_answered_like_what_is_not_here() -> None:
    confined = {CONTENT.digest}
    async with port(confined=confined) as peer:
        absent = await peer.get()
        assert peer.holdings.withheld == 0
        partial = await peer.store.open_partial(CONTENT.digest, CONTENT.size)
        peer.holdings.begin(partial)
        await partial.append(0, CONTENT.chunks(0, 2))
        growing = await peer.get("Range: bytes=0-99")
        await partial.append(2, CONTENT.chunks(2, 2))
        await partial.commit()
        peer.holdings.end(CONTENT.digest)
        await partial.close()
        complete = await peer.get()
        for answer in (growing, complete):
            assert (answer.status, answer.body) == (404, absent.body)
        assert absent.status == 404
        assert peer.holdings.withheld == 2
        assert peer.statistics.sent_peers == 0
        confined.clear()
        assert (await peer.get()).status == 200


@pytest.mark.slow
async def test_up_holds_for_all_together_and_slots_are_no_more_than_it_feeds() -> None:
    rate = 3 * MIB
    async with port(limit=Limiter(rate, most=MOST_SENT)) as at:
        await put(at.store, CONTENT)
        assert at.seeder._uploads == rate // SLOT_RATE == 12
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(at.get)
        assert trio.current_time() - begin >= 0.95 * (2 * CONTENT.size / rate - BURST_SECONDS)
        assert at.statistics.sent_peers == 2 * CONTENT.size
    async with port(limit=Limiter(1000)) as at:
        assert at.seeder._uploads == 1


@pytest.mark.slow
async def test_a_peer_that_leaves_while_it_waits_for_the_limit_gives_its_slot_back() -> None:
    async with port(uploads=1, limit=Limiter(64 * 1024)) as at:
        await put(at.store, CONTENT)
        client = await at.client()
        await client.send(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await client.head()
        assert at.seeder._under_way == 1
        await trio.aclose_forcefully(client.stream)
        await until(lambda: at.seeder._under_way == 0)
