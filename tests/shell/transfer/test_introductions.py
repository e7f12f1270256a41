from __future__ import annotations

import pytest
import trio
import trio.testing

from p2p.core.swarm.acquaintances import HINTS
from p2p.core.swarm.events import PeerKnown
from p2p.core.wire.codec import PEER, WireError, encode
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.peer import Known, PeerAddress, PeerHello, Streams
from p2p.errors import PeerError
from p2p.transfer.exchange import Exchange
from p2p.transfer.introductions import MESSAGES, Introductions
from tests.support.store_rig import blob

D = str(blob(9).digest)
E = str(blob(10).digest)


def hello(name: str, port: int = 5001) -> PeerHello:
    return PeerHello(PROTOCOL_VERSION, name * 32, name, port)


def linked(exchange: Exchange, name: str, host: str, port: int = 0) -> Introductions:
    one = Introductions(exchange, (host, port))
    one.greeted(hello(name))
    return one


async def test_who_subscribes_is_told_of_the_others_in_batches(autojump_clock, nursery) -> None:
    exchange, sent = Exchange("own", lambda _: True), []
    a, b, c = (linked(exchange, name, f"10.0.0.{n}") for n, name in enumerate("abc", 1))
    nursery.start_soon(a.run, sent.append)
    a.serve(D)
    a.serve(D)
    b.serve(D)
    c.serve(D)
    c.serve(E)
    await trio.sleep(1)
    assert sent == [Known(D, (PeerAddress("10.0.0.3", 5001), PeerAddress("10.0.0.2", 5001)))]
    b.end()
    c.serve_no_more(D)
    b.serve(D)
    await trio.sleep(1)
    assert len(sent) == 1, "nobody is told of twice"
    assert exchange.others(D, "x", ()) == (("10.0.0.2", 5001), ("10.0.0.1", 5001))
    nursery.cancel_scope.cancel()


async def test_news_can_be_taken_without_its_task(autojump_clock) -> None:
    exchange, woken = Exchange("own", lambda _: True), []
    a, b = linked(exchange, "a", "10.0.0.1"), linked(exchange, "b", "10.0.0.2")
    a.on_news = lambda: woken.append(1)
    a.serve(D)
    b.serve(D)
    assert len(woken) == 2, "when it began, and of another one"
    assert a.take() == [Known(D, (PeerAddress("10.0.0.2", 5001),))]
    assert a.take() == []


async def test_what_it_holds_is_told_under_the_address_that_was_dialled(autojump_clock) -> None:
    exchange = Exchange("own", lambda _: True)
    a = linked(exchange, "a", "10.0.0.1", 6001)
    a.holds(D, holds=False)
    a.holds(D, holds=True)
    a.holds(D, holds=True)
    assert exchange.others(D, "x", ()) == (("10.0.0.1", 6001),)
    a.holds(D, holds=False)
    assert exchange.others(D, "x", ()) == ()
    a.holds(D, holds=True)
    a.end()
    assert exchange.others(D, "x", ()) == ()
    await trio.lowlevel.checkpoint()


async def test_no_more_than_so_many_are_told(autojump_clock, nursery) -> None:
    exchange, sent = Exchange("own", lambda _: True), []
    a = linked(exchange, "a", "10.0.0.1")
    nursery.start_soon(a.run, sent.append)
    a.serve(D)
    for number in range(500):
        exchange.met(D, f"n{number}", ("10.1.0.1", number + 1))
        if number % 10 == 0:
            await trio.sleep(0.1)
    await trio.sleep(5)
    told = [address for message in sent for address in message.addresses]
    assert HINTS <= len(told) < 2 * HINTS
    assert len(set(told)) == len(told)
    nursery.cancel_scope.cancel()


async def test_news_of_a_stream_go_at_once_to_who_subscribed(autojump_clock, nursery) -> None:
    shareable = {D, E}
    exchange, sent = Exchange("own", shareable.__contains__), []
    a = linked(exchange, "a", "10.0.0.1")
    nursery.start_soon(a.run, sent.append)
    a.serve(D)
    await trio.testing.wait_all_tasks_blocked()
    news = Streams(D, "x", 0.5)
    exchange.streams(news)
    exchange.streams(Streams(E, "x"))
    assert sent == [news]
    shareable.clear()
    exchange.streams(news)
    shareable.add(D)
    a.end()
    exchange.streams(news)
    assert sent == [news], "not of what is not shared, nor to who is gone"
    nursery.cancel_scope.cancel()


def test_what_a_hostile_peer_says() -> None:
    exchange = Exchange("own", lambda _: True)
    a = linked(exchange, "a", "10.0.0.1")
    inside = tuple(
        PeerAddress(host, 80) for host in ("169.254.169.254", "127.0.0.1", "::1", "metadata", "0.0.0.0")
    )
    assert a.heard(Known(D, (*inside, PeerAddress("10.0.0.7", 5001))), "a") == PeerKnown(
        "a", (("10.0.0.7", 5001),)
    )
    for _ in range(MESSAGES - 1):
        a.heard(Known(D, ()), "a")
    with pytest.raises(PeerError, match="without end"):
        a.heard(Known(D, ()), "a")


def test_ten_thousand_addresses_are_no_message() -> None:
    many = Known(D, tuple(PeerAddress("10.0.0.1", 1 + n) for n in range(10_000)))
    with pytest.raises(WireError, match="addresses: more than 32"):
        PEER.decode(encode(many))
    with pytest.raises(WireError, match="port"):
        PEER.decode(encode(Known(D, (PeerAddress("10.0.0.1", 70_000),))))
    with pytest.raises(WireError, match="node: longer than 128"):
        PEER.decode(encode(Streams(D, "x" * 129)))


async def test_nobody_hears_of_nodes_in_other_zones(autojump_clock) -> None:
    exchange = Exchange("own", lambda _: True)
    for name, zone in (("a", "here"), ("b", "there"), ("c", "")):
        one = Introductions(exchange, (f"10.0.0.{ord(name)}", 6001), "here")
        one.greeted(PeerHello(PROTOCOL_VERSION, name * 32, name, 5001, zone))
        one.serve(D)
        one.holds(E, holds=True)
    assert [host for host, _ in exchange.others(D, "x", ())] == ["10.0.0.99", "10.0.0.97"]
    assert [host for host, _ in exchange.others(E, "x", ())] == ["10.0.0.99", "10.0.0.97"]
    far = Introductions(exchange, ("10.0.0.99", 6001), "here")
    far.greeted(PeerHello(PROTOCOL_VERSION, "c" * 32, "c", 5001, "there"))
    far.serve(D)
    far.end()
    assert len(exchange.others(D, "x", ())) == 2, "and what was never told is not taken back"
