from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from p2p.core.dht.contact import Endpoint
from p2p.discovery.dht.bootstrap import LONGEST, MOST, Bootstrap, resolve
from p2p.errors import ConfigError

HERE = Endpoint(b"\x7f\0\0\1", 5001)


class Names(trio.abc.HostnameResolver):
    """A resolver in memory."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.asked = 0

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002  # as the library calls it
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if host.decode() not in self.names:
            raise OSError("no such name")
        return [(0, type, 17, "", (address, port)) for address in self.names[host.decode()]]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def test_a_name_stands_for_all_its_addresses() -> None:
    names = Names({"nodes.test": ["10.0.0.1", "fd00::1", "10.0.0.1", "::ffff:10.0.0.2"]})
    trio.socket.set_custom_hostname_resolver(names)
    found = await resolve("nodes.test", 5001)
    assert found == [
        Endpoint(b"\x0a\0\0\1", 5001),
        Endpoint(b"\xfd" + bytes(14) + b"\1", 5001),
        Endpoint(b"\x0a\0\0\2", 5001),
    ]
    names.names["many.test"] = [f"10.0.{n}.1" for n in range(200)]
    assert len(await resolve("many.test", 1)) == MOST
    assert await resolve("nothing.test", 1) == []
    asked = names.asked
    assert await resolve("127.0.0.1", 5001) == [HERE]
    assert names.asked == asked, "an address needs no resolver"


async def test_a_silent_resolver_is_given_up(autojump_clock) -> None:
    class Silent(Names):
        async def getaddrinfo(self, *args, **options):
            await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Silent({}))
    assert await resolve("nodes.test", 1) == []


async def test_again_while_lonely_and_ever_more_slowly(autojump_clock, nursery) -> None:
    met: list[tuple[float, Endpoint]] = []
    lonely = True
    one = Bootstrap(
        ("127.0.0.1:5001",), lonely=lambda: lonely, meet=lambda e: met.append((trio.current_time(), e))
    )
    nursery.start_soon(one.run)
    await trio.sleep(100)
    times = [at for at, endpoint in met if endpoint == HERE]
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert (gaps[0], max(gaps)) == (1.0, LONGEST)
    lonely = False
    before = len(met)
    await trio.sleep(200)
    assert len(met) <= before + 1
    lonely = True
    await trio.sleep(2 * LONGEST)
    assert len(met) > before + 1
    nursery.cancel_scope.cancel()


def test_addresses_that_are_none() -> None:
    with pytest.raises(ConfigError):
        Bootstrap(("nowhere",), lonely=lambda: True, meet=lambda _: None)
