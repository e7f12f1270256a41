"""The first contacts: names and addresses from the settings, resolved again while nobody is known."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import structlog
import trio

from p2p.discovery.dht.addresses import to_endpoint
from p2p.discovery.static import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2p.core.dht.contact import Endpoint

FIRST: Final = 0.5
LONGEST: Final = 10.0
MOST: Final = 64
"""Addresses taken of one name."""
RESOLVE: Final = 5.0

log = structlog.get_logger(__name__)


async def resolve(host: str, port: int) -> list[Endpoint]:
    """Give the addresses of a name, of both families; none where it can't be resolved in time."""
    try:
        return [to_endpoint(host, port)]
    except ValueError:
        pass
    found: list[Endpoint] = []
    with trio.move_on_after(RESOLVE):
        try:
            rows = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            log.warning("bootstrap name not resolved", host=host, cause=str(error))
            return []
        found = [to_endpoint(str(row[4][0]), port) for row in rows]
    return list(dict.fromkeys(found))[:MOST]


class Bootstrap:
    """Goes through the configured nodes, ``host:port`` each, while ``lonely`` says so.

    A name may stand for many nodes: each of its addresses is one. ``meet`` gets them.
    """

    def __init__(
        self, nodes: Iterable[str], *, lonely: Callable[[], bool], meet: Callable[[Endpoint], None]
    ) -> None:
        self._nodes = [parse_address(text) for text in nodes]
        self._lonely = lonely
        self._meet = meet

    async def run(self) -> None:
        """Do so until cancelled, ever more slowly; at once again after having had company."""
        pause = FIRST
        while True:
            if self._lonely():
                for host, port in self._nodes:
                    for endpoint in await resolve(host, port):
                        self._meet(endpoint)
                pause = min(2 * pause, LONGEST)
            else:
                pause = FIRST
            await trio.sleep(pause if self._lonely() else LONGEST)  # then it looks whether it is lonely
