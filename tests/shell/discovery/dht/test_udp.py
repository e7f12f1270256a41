from __future__ import annotations

import pytest
import trio

from p2p.core.dht.contact import Endpoint
from p2p.discovery.dht.udp import BUFFER, open_sockets
from p2p.errors import LocalError, PortInUseError
from tests.support.dht_nodes import until

HERE = b"\x7f\0\0\1"


async def test_there_and_back(nursery) -> None:
    one, two, got = open_sockets(["127.0.0.1:0"]), open_sockets(["127.0.0.1:0"]), []
    await nursery.start(two.run, lambda data, sender: got.append((bytes(data), sender)))
    port = int(two.address.rpartition(":")[2])
    for number in range(200):
        one.send(Endpoint(HERE, port), b"%d" % number)
    one.send(Endpoint(HERE, port), bytes(1300))
    await until(lambda: len(got) == 201)
    assert [data for data, _ in got[:200]] == [b"%d" % n for n in range(200)]
    assert len(got[200][0]) == BUFFER, "cut off, and known to be too long"
    assert got[0][1] == ("127.0.0.1", int(one.address.rpartition(":")[2]))
    nursery.cancel_scope.cancel()
    one.close()
    two.close()


async def test_one_port_for_both_families() -> None:
    both = open_sockets(["127.0.0.1:0", "[::1]:0"])
    assert both.families == {4, 16}
    assert len({one.getsockname()[1] for one in both._sockets}) == 1
    both.close()
    both.close()


async def test_what_can_not_be_sent_is_dropped_and_counted() -> None:
    one = open_sockets(["127.0.0.1:0"])
    one.send(Endpoint(bytes(15) + b"\1", 1), b"x")
    assert one.unsent == 0, "no socket of that family: never tried"
    one.send(Endpoint(HERE, 1), bytes(70_000))
    assert one.unsent == 1
    one.close()


async def test_a_closed_port_that_answers_with_icmp_ends_nothing(nursery) -> None:
    one, got = open_sockets(["127.0.0.1:0"]), []
    await nursery.start(one.run, lambda data, sender: got.append(bytes(data)))
    gone = open_sockets(["127.0.0.1:0"])
    port = int(gone.address.rpartition(":")[2])
    gone.close()
    one.send(Endpoint(HERE, port), b"nobody")
    one.send(Endpoint(HERE, int(one.address.rpartition(":")[2])), b"me")
    await until(lambda: got == [b"me"])
    nursery.cancel_scope.cancel()
    one.close()


async def test_addresses_that_can_not_be_had() -> None:
    one = open_sockets(["127.0.0.1:0"])
    with pytest.raises(PortInUseError):
        open_sockets([one.address])
    with pytest.raises(LocalError):
        open_sockets(["192.0.2.1:0"])
    one.close()


async def test_cancelled_it_stops_receiving() -> None:
    one, got = open_sockets(["127.0.0.1:0"]), []
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run, lambda data, sender: got.append(data))
        nursery.cancel_scope.cancel()
    one.close()
    assert got == []
