"""Some DHT nodes in one process, driven by lines of JSON on stdin and answering with lines on stdout.

A line is the name of one of ``Worker``'s methods and its arguments, as ``["start", [[0, 1], []]]``; the
answer is what the method gives.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import trio
import trio.lowlevel

from p2p.core.oci.digest import Digest
from p2p.core.swarm.events import LeaseLost, Planned
from tests.support.dht_nodes import DhtNode, complete, make

LONGEST = 60.0
PUT = 60.0
PATIENCE = 10.0


def digest_of(blob: str) -> Digest:
    """Name a blob that is nowhere."""
    return Digest.of(blob.encode())


class Worker:
    """The nodes by number."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.nodes: dict[int, DhtNode] = {}

    async def start(self, numbers: list[int], bootstrap: list[str]) -> dict[str, str]:
        """Start nodes; gives their addresses."""
        for number in numbers:
            node = self.nodes[number] = make(number, bootstrap=tuple(bootstrap))
            await self._nursery.start(node.run)
            bootstrap = bootstrap or [node.address]
        return {str(number): self.nodes[number].address for number in numbers}

    async def provide(self, blobs: Mapping[str, list[str]]) -> int:
        """Announce blobs as complete, and wait until each was taken; gives how many were."""
        for number, names in blobs.items():
            for name in names:
                self.nodes[int(number)].discovery.announce(complete(digest_of(name)))
        want = {int(number): len(names) for number, names in blobs.items()}

        def stored() -> int:
            return sum(min(self.nodes[n].discovery.statistics().stored, count) for n, count in want.items())

        with trio.move_on_after(PUT):
            while stored() < sum(want.values()):  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.02)
        return stored()

    async def find(self, number: int, blobs: list[str]) -> list[float]:
        """Look for blobs one after the other, as long as it takes; the seconds to a provider, -1 for none."""
        return [await self._first(number, name, again=True) for name in blobs]

    async def burst(self, number: int, blobs: list[str]) -> dict[str, Any]:
        """Look once for all at once; gives how many were found, and the time of all together."""
        found: list[float] = []
        begun = trio.current_time()

        async def one(name: str) -> None:
            found.append(await self._first(number, name, again=False))

        async with trio.open_nursery() as nursery:
            for name in blobs:
                nursery.start_soon(one, name)
        return {
            "found": sum(seconds >= 0 for seconds in found),
            "seconds": trio.current_time() - begun,
            "evicted": self.nodes[number].discovery.statistics().evicted,
        }

    async def _first(self, number: int, name: str, *, again: bool) -> float:
        done, digest, begun = trio.Event(), digest_of(name), trio.current_time()
        result = -1.0

        def sink(news: Planned | LeaseLost) -> None:
            nonlocal result
            providers = isinstance(news, Planned) and news.providers
            if not done.is_set() and (providers or not again):
                result = trio.current_time() - begun if providers else -1.0
                done.set()

        discovery = self.nodes[number].discovery
        discovery.want(digest, 1, lease=False, unreachable=frozenset(), sink=sink)
        with trio.move_on_after(PATIENCE if again else LONGEST):
            await done.wait()
        discovery.unwant(digest)
        return result

    async def stop(self, numbers: list[int]) -> int:
        """Stop nodes without a word to anybody."""
        for number in numbers:
            self.nodes[number].stop()
        await trio.lowlevel.checkpoint()
        return len(numbers)

    async def tables(self) -> dict[str, int]:
        """Give how many contacts each node has."""
        return {str(n): node.discovery.statistics().contacts for n, node in self.nodes.items()}

    async def figures(self, number: int) -> dict[str, Any]:
        """Give what a node counted, and the memory of its process."""
        now = self.nodes[number].discovery.statistics()
        counts = {"received": now.received, "sent": now.sent, "dropped": dict(now.dropped)}
        return {**counts, "memory": resident()}

    async def memory(self) -> int:
        """Give the process's resident bytes."""
        return resident()


def resident(pid: str = "self") -> int:
    """Give the resident bytes of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


async def serve() -> None:
    """Answer until stdin ends."""
    async with trio.open_nursery() as nursery:
        worker = Worker(nursery)
        commands: dict[str, Callable[..., Any]] = {
            name: getattr(worker, name)
            for name in ("start", "provide", "find", "burst", "stop", "tables", "figures", "memory")
        }
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            name, arguments = json.loads(line)
            print(json.dumps(await commands[name](*arguments)), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve)
