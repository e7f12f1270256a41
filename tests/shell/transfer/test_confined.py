from __future__ import annotations

import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.errors import LocalError
from p2p.metadata.memory_private import MemoryPrivacy
from p2p.transfer.confined import Confined, Unconfined
from tests.support.metadata_suite import blob

SECRET = Repository("ghcr.io", "org/secret")
OTHER = Repository("ghcr.io", "org/other")
OPEN = Repository("docker.io", "library/open")
D = Digest.of(b"layer")
BASE = Digest.of(b"base")


class Records(MemoryPrivacy):
    """A database that can fail, and that tells what was written when."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.gate: trio.Event | None = None

    async def confine(self, repository: Repository, digest: Digest, *, proven: bool) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise LocalError("database", "is full")
        await super().confine(repository, digest, proven=proven)


class World:
    def __init__(self) -> None:
        self.records = Records()
        self.private = {SECRET, OTHER}
        self.held: set[Digest] = set()
        self.moved: list[tuple[Digest, bool]] = []
        self.confined = self.start()

    def start(self) -> Confined:
        self.confined = Confined(
            self.records,
            private=self.private.__contains__,
            held=self.held.__contains__,
            changed=lambda digest: self.moved.append((digest, digest in self.confined)),
        )
        return self.confined

    async def restart(self) -> None:
        await self.start().load()


async def test_what_a_private_repository_brings_is_confined_from_before_its_first_byte() -> None:
    world = World()
    world.records.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.confined.begin, SECRET, D)
        await trio.testing.wait_all_tasks_blocked()
        assert D in world.confined
        assert await world.records.confined() == []
        world.records.gate.set()
    await world.restart()
    assert D in world.confined
    assert not world.confined.reaches(SECRET, D)


async def test_what_a_public_one_brings_is_not() -> None:
    world = World()
    await world.confined.begin(OPEN, D)
    assert D not in world.confined
    assert world.confined.reaches(SECRET, D)
    assert await world.records.confined() == []


async def test_what_is_here_and_public_stays_so() -> None:
    world = World()
    world.held.add(BASE)
    await world.confined.begin(SECRET, BASE)
    assert BASE not in world.confined


async def test_each_repository_is_proven_for_itself() -> None:
    world = World()
    await world.confined.begin(SECRET, D)
    await world.confined.proved(SECRET, D)
    await world.confined.proved(SECRET, D)
    assert world.confined.reaches(SECRET, D)
    assert not world.confined.reaches(OTHER, D)
    assert not world.confined.reaches(OPEN, D)
    await world.confined.proved(OTHER, D)
    assert world.confined.repositories(D) == (SECRET, OTHER)
    await world.restart()
    assert world.confined.reaches(OTHER, D)
    assert not world.confined.reaches(OPEN, D)
    assert world.moved == []


async def test_proof_for_a_public_repository_ends_it_for_good() -> None:
    world = World()
    await world.confined.begin(SECRET, D)
    await world.confined.proved(SECRET, D)
    await world.confined.proved(OPEN, D)
    assert D not in world.confined
    assert world.moved == [(D, False)]
    await world.restart()
    assert len(world.confined) == 0


async def test_proof_of_what_is_not_confined_says_nothing() -> None:
    world = World()
    await world.confined.proved(SECRET, D)
    await world.confined.proved(OPEN, D)
    assert len(world.confined) == 0
    assert await world.records.confined() == []


async def test_what_could_not_be_written_is_confined_and_written_the_next_time() -> None:
    world = World()
    world.records.broken = True
    for _ in range(2):
        with pytest.raises(LocalError):
            await world.confined.begin(SECRET, D)
        assert D in world.confined
    world.records.broken = False
    await world.confined.begin(SECRET, D)
    assert [digest for digest, *_ in await world.records.confined()] == [D]


async def test_a_repository_that_turns_private_takes_all_it_reached_with_it() -> None:
    world = World()
    world.private.remove(SECRET)
    await world.records.link(SECRET, [blob(b"layer"), blob(b"base")])
    await world.confined.begin(OTHER, BASE)
    world.private.add(SECRET)
    await world.confined.turned(SECRET, private=True)
    assert world.moved == [(D, True)]
    assert D in world.confined
    # That it was named there proves nothing now.
    assert not world.confined.reaches(SECRET, D)
    assert not world.confined.reaches(SECRET, BASE)
    await world.restart()
    assert {D, BASE} == {digest for digest in (D, BASE) if digest in world.confined}


async def test_and_back() -> None:
    world = World()
    await world.records.link(SECRET, [blob(b"layer"), blob(b"base"), blob(b"mine")])
    await world.confined.turned(SECRET, private=True)
    await world.confined.proved(SECRET, D)
    await world.confined.begin(OTHER, Digest.of(b"theirs"))
    await world.confined.proved(OTHER, BASE)
    world.moved.clear()
    world.private.remove(SECRET)
    await world.confined.turned(SECRET, private=False)
    assert sorted(world.moved) == sorted([(D, False), (Digest.of(b"mine"), False)])
    assert BASE in world.confined
    assert world.confined.reaches(OTHER, BASE)


async def test_what_is_hosted_is_forgotten() -> None:
    world = World()
    await world.confined.begin(SECRET, D)
    world.confined.hosted(D, BASE)
    assert D not in world.confined
    assert world.moved == [(D, False)]


async def test_nothing_is_confined_where_nothing_is_private() -> None:
    twin = Unconfined()
    await twin.begin(SECRET, D)
    await twin.proved(SECRET, D)
    assert D not in twin
    assert twin.reaches(OPEN, D)
