from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import structlog.testing
import trio

from p2p.core.oci.reference import Repository
from p2p.errors import OriginNotFoundError
from p2p.metadata.hosting import HOSTED
from p2p.metadata.memory_private import MemoryPrivacy
from p2p.metadata.private import VisibilityRow
from p2p.registry.visibility import DOUBT, REMEMBERED, Visibility
from tests.support.metadata_suite import blob
from tests.support.registry_rig import Clock, MemoryOrigin

if TYPE_CHECKING:
    from p2p.origin.api import Kind

SECRET = Repository("test", "org/secret")
OPEN = Repository("test", "org/open")
AGE = 300.0


class World:
    """Visibility over an upstream with credentials: one repository is private there, one public."""

    def __init__(self) -> None:
        self.origin = MemoryOrigin()
        self.origin.credentials = True
        self.origin.put_image("org/open", "1")
        self.origin.put_image("org/secret", "1")
        self.origin.readers["org/secret"] = {}
        self.records = MemoryPrivacy()
        self.clock = Clock()
        self.turns: list[tuple[str, bool]] = []
        self.broken: Exception | None = None
        self.visibility = self.start()

    def start(self) -> Visibility:
        """Begin a new run of the node."""
        made = Visibility(
            records=self.records, gate=lambda _: self.origin, max_age=AGE, now=lambda: self.clock()
        )
        made.turned = self._turned
        self.visibility = made
        return made

    async def _turned(self, repository: Repository, private: bool) -> None:
        if self.broken is not None:
            raise self.broken
        self.turns.append((repository.path, private))

    async def learn(self, repository: Repository, wanted: tuple[Kind, str] | None = None) -> bool:
        found = await self.visibility.learn(repository, wanted)
        assert self.visibility.is_private(repository) is found
        return found

    def later(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    def publish(self, public: bool) -> None:
        if public:
            del self.origin.readers["org/secret"]
        else:
            self.origin.readers["org/secret"] = {}


async def test_without_credentials_nobody_is_asked_and_nothing_written() -> None:
    world = World()
    world.origin.credentials = False
    for _ in range(3):
        assert not await world.learn(SECRET)
        await world.visibility.admitted(SECRET)
    assert world.origin.asked == []
    assert world.turns == []
    assert await world.records.visibility(SECRET) is None


async def test_credentials_that_come_later_are_noticed_at_once() -> None:
    world = World()
    world.origin.credentials = False
    assert not await world.learn(SECRET)
    world.origin.credentials = True
    assert await world.learn(SECRET)
    assert world.turns == [("org/secret", True)]


async def test_what_came_with_credentials_stays_private_without_them() -> None:
    world = World()
    assert await world.learn(SECRET)
    world.origin.credentials = False
    world.later(AGE + 1)
    assert await world.learn(SECRET)
    world.publish(True)
    world.later(AGE + 1)
    assert not await world.learn(SECRET)


async def test_asked_once_within_the_age_and_again_after_it() -> None:
    world = World()
    for _ in range(3):
        assert await world.learn(SECRET)
        assert not await world.learn(OPEN)
    assert [path for path, *_ in world.origin.asked] == ["org/secret", "org/open"]
    assert {user for *_, user in world.origin.asked} == {""}
    world.later(AGE - 1)
    assert await world.learn(SECRET)
    world.later(2)
    assert await world.learn(SECRET)
    assert len(world.origin.asked) == 3


async def test_a_turn_is_noticed_within_the_age_and_told_once() -> None:
    world = World()
    with structlog.testing.capture_logs() as logs:
        assert await world.learn(SECRET)
        world.publish(True)
        world.later(AGE + 1)
        assert not await world.learn(SECRET)
        world.publish(False)
        world.later(AGE + 1)
        assert await world.learn(SECRET)
        world.later(AGE + 1)
        assert await world.learn(SECRET)
    assert world.turns == [("org/secret", True), ("org/secret", False), ("org/secret", True)]
    assert [one["event"].partition(":")[0] for one in logs] == [
        "repository is private",
        "repository is no longer private",
        "repository is private",
    ]


async def test_a_clock_that_was_set_back_keeps_no_judgement_for_ever() -> None:
    world = World()
    assert not await world.learn(OPEN)
    world.later(-86400)
    assert not await world.learn(OPEN)
    assert len(world.origin.asked) == 2


async def test_unknown_counts_as_private_and_is_not_kept() -> None:
    world = World()
    assert not await world.learn(OPEN)
    world.later(AGE + 1)
    world.origin.dark = True
    for _ in range(2):
        assert await world.learn(OPEN)
    assert len(world.origin.asked) == 3
    assert world.turns == [("org/open", False)]
    world.origin.dark = False
    assert not await world.learn(OPEN)
    known = await world.records.visibility(OPEN)
    assert known is not None
    assert not known.private


async def test_what_is_not_to_be_seen_is_private_for_seconds() -> None:
    world = World()
    new = Repository("test", "org/new")
    assert await world.learn(new)
    assert await world.learn(new)
    await world.visibility.admitted(new)
    assert world.turns == []
    assert await world.records.visibility(new) is None
    world.origin.put_image("org/new", "1")
    world.later(DOUBT + 1)
    assert not await world.learn(new)
    assert len(world.origin.asked) == 2


async def test_the_next_run_knows_what_somebody_was_given() -> None:
    world = World()
    await world.learn(OPEN)
    await world.learn(SECRET)
    # Nobody has shown that it is there: names that are made up fill no database.
    assert await world.records.visibility(SECRET) is None
    await world.visibility.admitted(SECRET)
    await world.visibility.admitted(SECRET)
    world.start()
    world.later(AGE / 2)
    assert await world.learn(SECRET)
    assert not await world.learn(OPEN)
    assert len(world.origin.asked) == 2
    world.later(AGE)
    world.publish(True)
    assert not await world.learn(SECRET)
    assert world.turns[2:] == [("org/secret", False)]
    known = await world.records.visibility(SECRET)
    assert known is not None
    assert not known.private


async def test_kept_asks_no_upstream() -> None:
    world = World()
    assert await world.visibility.kept(OPEN)  # there are credentials, and nobody has asked yet
    world.origin.credentials = False
    assert not await world.visibility.kept(OPEN)
    await world.records.put_visibility(SECRET, VisibilityRow(private=True, judged_at=world.clock()))
    assert await world.visibility.kept(SECRET)
    assert world.origin.asked == []
    world.origin.credentials = True
    assert not await world.learn(OPEN)
    assert not await world.visibility.kept(OPEN)


async def test_of_an_upstream_that_is_gone_nothing_is_told() -> None:
    def gone(name: str) -> MemoryOrigin:
        raise OriginNotFoundError(name, "no such upstream is configured")

    visibility = Visibility(records=MemoryPrivacy(), gate=gone, max_age=AGE)
    assert await visibility.kept(OPEN)


async def test_this_nodes_own_are_never_private() -> None:
    world = World()
    own = Repository(HOSTED, "org/secret")
    assert not await world.learn(own)
    assert not await world.visibility.kept(own)
    assert world.origin.asked == []


async def test_nobody_knows_what_was_never_asked() -> None:
    assert World().visibility.is_private(OPEN)


async def test_a_turn_that_can_not_be_acted_on_is_found_again() -> None:
    world = World()
    world.broken = OSError("the database is away")
    with pytest.raises(OSError, match="away"):
        await world.learn(SECRET)
    assert world.visibility.is_private(SECRET)
    world.broken = None
    assert await world.learn(SECRET)
    assert world.turns == [("org/secret", True)]


async def test_many_at_once_ask_once() -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(world.learn, SECRET)
    assert len(world.origin.asked) == 1


async def test_what_is_remembered_has_a_bound() -> None:
    world = World()
    await world.records.link(OPEN, [blob(b"x")])
    for number in range(REMEMBERED + 10):
        await world.visibility.learn(Repository("test", f"made/up-{number}"))
    assert len(world.visibility._known) == REMEMBERED
    assert await world.records.unjudged() == ["test"]
