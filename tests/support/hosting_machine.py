"""Hosting driven at random beside its model; subclass ``HostingMachine`` with ``open``."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2p.core.oci.reference import Repository
from p2p.metadata.hosting import HOSTED, Place
from tests.support.hosting_model import HostingModel
from tests.support.hosting_suite import T0, Both, Image, blob, digest, index

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from typing import Any

    from p2p.metadata.hosting import Pushed

# 0 to 3 are blobs, 4 to 6 images of them, 7 and 8 indexes.
CHILDREN = {
    4: frozenset({0, 1}),
    5: frozenset({0, 2}),
    6: frozenset({0, 3}),
    7: frozenset({4, 5}),
    8: frozenset({6}),
}
NAMES = [f"content {number}" for number in range(9)]
BY_DIGEST = {digest(name): number for number, name in enumerate(NAMES)}
TAGS = ("a", "b")

repositories = st.integers(0, 2)
contents = st.integers(0, 8)
manifests = st.integers(4, 8)
leases = st.integers(0, 6)


def at(hours: int) -> datetime:
    return T0 + timedelta(hours=hours)


def repository(number: int) -> Repository:
    return Repository(HOSTED, f"r{number}")


def pushed(number: int, tag: str | None) -> Pushed:
    tags = () if tag is None else (tag,)
    if number < 7:
        config, *layers = sorted(CHILDREN[number])
        return Image(
            NAMES[number], layers=tuple(NAMES[each] for each in layers), config=NAMES[config]
        ).pushed(*tags)
    plain = index(NAMES[number], *(NAMES[each] for each in sorted(CHILDREN[number])))
    return type(plain)(plain.descriptor, plain.manifest, tags, plain.required)


BRIEF = settings(max_examples=40, stateful_step_count=40, deadline=None)
"""For every run of the tests: a few seconds."""


class HostingMachine(RuleBasedStateMachine):
    """Every verb at random, time moving on; after each the two must agree."""

    open: Callable[[], AbstractAsyncContextManager[Both]]

    def __init__(self) -> None:
        super().__init__()
        self.model = HostingModel({number: CHILDREN.get(number, frozenset()) for number in range(9)})
        self.now = 1
        self.keys = [""]
        # Rules are plain functions: the loop runs in a thread of its own as long as the machine does.
        started: SimpleQueue[tuple[Both, trio.lowlevel.TrioToken]] = SimpleQueue()
        self._over = trio.Event()
        self._loop = threading.Thread(target=trio.run, args=(self._serve, started))
        self._loop.start()
        self.hosting, self._token = started.get(timeout=30)

    async def _serve(self, started: SimpleQueue[tuple[Both, trio.lowlevel.TrioToken]]) -> None:
        async with type(self).open() as hosting:
            started.put((hosting, trio.lowlevel.current_trio_token()))
            await self._over.wait()

    def teardown(self) -> None:
        self._token.run_sync_soon(self._over.set)
        self._loop.join(timeout=30)
        assert not self._loop.is_alive()

    def _run(self, call: Callable[..., Awaitable[Any]], *arguments: object, **named: object) -> Any:
        return trio.from_thread.run(partial(call, *arguments, **named), trio_token=self._token)

    @rule(hours=st.integers(1, 4))
    def wait(self, hours: int) -> None:
        self.now += hours

    @rule(r=repositories, c=contents, lease=leases)
    def add_blob(self, r: int, c: int, lease: int) -> None:
        until = self.now + lease
        done = self._run(self.hosting.add_blob, repository(r), blob(NAMES[c]), lease=at(until))
        assert done is self.model.add(r, c, until)

    @rule(r=repositories, c=contents, lease=leases)
    def add_blob_at_a_place(self, r: int, c: int, lease: int) -> None:
        until = self.now + lease
        key = f"key {len(self.keys)}"
        self.keys.append(key)
        self._run(self.hosting.intend, key, at(self.now))
        place = Place(key)
        assert self._run(self.hosting.add_blob, repository(r), blob(NAMES[c]), lease=at(until), place=place)
        self.model.put_at(r, c, until, key)
        doomed = self._run(self.hosting.doomed, [key], at(self.now))
        assert (doomed == []) is (self.model.places[c] == key)

    @rule(r=repositories, c=contents, source=st.none() | repositories, lease=leases)
    def mount(self, r: int, c: int, source: int | None, lease: int) -> None:
        until = self.now + lease
        origin = None if source is None else repository(source)
        done = self._run(self.hosting.mount, repository(r), digest(NAMES[c]), origin, lease=at(until))
        assert (done is not None) is self.model.mount(r, c, source, until)

    @rule(r=repositories, c=contents, lease=leases)
    def hold(self, r: int, c: int, lease: int) -> None:
        until = self.now + lease
        done = self._run(self.hosting.hold, repository(r), digest(NAMES[c]), lease=at(until))
        assert (done is not None) is self.model.hold(r, c, until)

    @rule(r=repositories, m=manifests, tag=st.none() | st.sampled_from(TAGS))
    def put_manifest(self, r: int, m: int, tag: str | None) -> None:
        done = self._run(self.hosting.put_manifest, repository(r), pushed(m, tag), now=at(self.now))
        assert {BY_DIGEST[each] for each in done.missing} == self.model.put(r, m, tag)

    @rule(r=repositories, m=manifests, tag=st.sampled_from(TAGS))
    def push_whole(self, r: int, m: int, tag: str) -> None:
        """All below a manifest, then itself, under leases that are over at once: as a slow client's."""
        for child in sorted(CHILDREN[m]):
            for below in (*sorted(CHILDREN.get(child, ())), child):
                self.add_blob(r, below, 0)
            if child in CHILDREN:
                self.put_manifest(r, child, None)
        self.put_manifest(r, m, tag)

    @rule(r=repositories, m=manifests)
    def remove_manifest(self, r: int, m: int) -> None:
        done = self._run(self.hosting.remove_manifest, repository(r), digest(NAMES[m]))
        assert done == self.model.remove(r, m)

    @rule(r=repositories, tag=st.sampled_from(TAGS))
    def untag(self, r: int, tag: str) -> None:
        done = self._run(self.hosting.untag, repository(r), tag)
        assert (None if done is None else BY_DIGEST[done]) == self.model.tags.pop((r, tag), None)

    @rule(r=repositories, c=contents)
    def remove_blob(self, r: int, c: int) -> None:
        done = self._run(self.hosting.remove_blob, repository(r), digest(NAMES[c]))
        assert done is self.model.remove_blob(r, c)

    @rule(r=repositories)
    def drop_repository(self, r: int) -> None:
        assert self._run(self.hosting.drop_repository, repository(r)) == self.model.drop(r)

    @rule(c=contents)
    def claim(self, c: int) -> None:
        reachable = self.model.reachable(c, self.now)
        told = self._run(self.hosting.reviewed, digest(NAMES[c]), at(self.now))
        claimed = self._run(self.hosting.claim, digest(NAMES[c]), at(self.now))
        size = None if claimed is None else claimed.size
        assert told == size, "a preview tells what a review does"
        assert not (reachable and size is not None), "what is reachable was given up"
        assert (size is not None) is self.model.claim(c, self.now)

    @rule(c=contents, late=st.none() | st.integers(0, 20))
    def collected(self, c: int, late: int | None) -> None:
        """By who claimed it; ``late``: by one who claimed it, or something else, long ago."""
        key = self.model.places.get(c, "") if late is None else self.keys[late % len(self.keys)]
        self._run(self.hosting.collected, digest(NAMES[c]), key)
        self.model.collected(c, key)

    @rule()
    def collect(self) -> None:
        """As the collector goes on; afterwards nothing that is unreachable is owned."""
        for each in self._run(self.hosting.due, at(self.now), 100):
            self.claim(BY_DIGEST[each])
        for c in self.model.owned:
            assert self.model.reachable(c, self.now), f"{NAMES[c]} stayed past its time"

    @invariant()
    def agree(self) -> None:
        linked, tags, deleting = self._run(self._look)
        assert linked == set(self.model.linked)
        assert tags == set(self.model.tags)
        assert deleting == self.model.deleting

    async def _look(self) -> tuple[set[tuple[int, int]], set[tuple[int, str]], set[int]]:
        linked = {
            (r, c)
            for r in range(3)
            for c in range(9)
            if await self.hosting.reaches(repository(r), digest(NAMES[c]))
        }
        tags = {(r, tag) for r in range(3) for tag in await self.hosting.tags(repository(r), 9)}
        for each in await self.hosting.places(100):
            assert self.model.places.get(BY_DIGEST[each.digest], "") == each.key
        return linked, tags, {BY_DIGEST[each.digest] for each in await self.hosting.deleting()}
