from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.config import TagRuleSettings, TagSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.core.oci.reference import Repository
from p2p.discovery.api import KnownReference
from p2p.errors import (
    OriginDeniedError,
    OriginError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
)
from p2p.metadata.api import GENERIC
from p2p.metadata.hosting import HOSTED
from p2p.metadata.memory import MemoryMetadata
from p2p.registry.tags import TagResolver, described, unavailable
from tests.support.registry_rig import APP, Clock, MemoryOrigin, MemoryOrigins, MemoryReferences, at_once

UNAVAILABLE = [
    OriginUnreachableError("test", "no connection"),
    OriginStatusError("test", "status 503", status=503),
    OriginStatusError("test", "status 429", status=429),
    OriginLimitedError("test", "limits us", retry_after=30),
]
ANSWERS = [
    OriginNotFoundError("test", "no such tag"),
    OriginDeniedError("test", "401"),
    OriginProtocolError("test", "nonsense"),
    OriginStatusError("test", "status 400", status=400),
]


class Setup:
    def __init__(self, settings: TagSettings) -> None:
        self.origin = MemoryOrigin("test")
        self.metadata = MemoryMetadata()
        self.references = MemoryReferences()
        self.clock = Clock()
        self.resolver = TagResolver(
            metadata=self.metadata,
            origins=MemoryOrigins(self.origin),
            references=self.references,
            settings=settings,
            now=self.clock,
        )
        self.digest = self.origin.put_image("app", "1")

    async def resolve(self, tag: str = "1") -> tuple[Digest, bool]:
        resolved = await self.resolver.resolve(APP, tag)
        return resolved.target.digest, resolved.stale

    def later(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)

    def known(self, age: float = 10.0, tag: str = "1") -> Digest:
        digest = Digest.of(b"what another node saw")
        self.references.known["test/app", tag] = KnownReference(digest, OCI_MANIFEST, 21, age)
        return digest


async def test_without_max_age_the_origin_is_asked_each_time() -> None:
    setup = Setup(TagSettings())
    assert await setup.resolve() == (setup.digest, False)
    moved = setup.origin.put_image("app", "1", [b"new"])
    assert await setup.resolve() == (moved, False)
    assert setup.origin.calls["head"] == 2


async def test_within_max_age_it_is_not_asked() -> None:
    setup = Setup(TagSettings(max_age=60))
    await setup.resolve()
    setup.origin.put_image("app", "1", [b"new"])
    setup.later(59)
    assert await setup.resolve() == (setup.digest, False)
    assert setup.origin.calls["head"] == 1
    setup.later(2)
    assert (await setup.resolve())[0] != setup.digest


async def test_a_clock_set_back_does_not_make_a_tag_fresh_for_ever() -> None:
    setup = Setup(TagSettings(max_age=60))
    await setup.resolve()
    setup.later(-86400)
    await setup.resolve()
    assert setup.origin.calls["head"] == 2


async def test_concurrent_requests_share_one_head() -> None:
    setup = Setup(TagSettings())
    setup.origin.gate = trio.Event()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            assert await at_once(100, setup.resolve) == [(setup.digest, False)] * 100

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        setup.origin.gate.set()
    assert setup.origin.calls["head"] == 1


async def test_a_confirmed_tag_is_kept_and_told_to_the_others() -> None:
    setup = Setup(TagSettings())
    await setup.resolve()
    row = await setup.metadata.tag(APP, "1")
    assert row is not None
    assert (row.digest, row.confirmed_at) == (setup.digest, setup.clock.now)
    assert await setup.metadata.reaches(APP, setup.digest)
    ((repository, tag, known),) = setup.references.told
    assert (repository, tag, known.digest, known.age) == ("test/app", "1", setup.digest, 0.0)


@pytest.mark.parametrize("error", UNAVAILABLE, ids=lambda error: type(error).__name__)
async def test_own_stale_tag_when_the_origin_cannot_answer(error: OriginError) -> None:
    setup = Setup(TagSettings(stale_if_error=100))
    await setup.resolve()
    setup.known()
    setup.origin.error = error
    setup.later(100)
    assert await setup.resolve() == (setup.digest, True)
    assert setup.references.asked == 0


@pytest.mark.parametrize("error", ANSWERS, ids=lambda error: type(error).__name__)
async def test_an_answer_is_never_covered_by_a_stale_tag(error: OriginError) -> None:
    setup = Setup(TagSettings())
    await setup.resolve()
    setup.known()
    setup.origin.error = error
    with pytest.raises(type(error)):
        await setup.resolve()
    assert setup.references.asked == 0


async def test_too_stale_goes_to_the_cluster() -> None:
    setup = Setup(TagSettings(stale_if_error=100))
    await setup.resolve()
    setup.origin.error = UNAVAILABLE[0]
    setup.later(101)
    known = setup.known(age=10)
    assert await setup.resolve() == (known, True)
    row = await setup.metadata.tag(APP, "1")
    assert row is not None
    assert row.confirmed_at == setup.clock.now - timedelta(seconds=10)
    assert await setup.metadata.reaches(APP, known)  # its manifest may be asked for by digest next
    assert len(setup.references.told) == 1  # only what an origin confirmed is told on


async def test_what_the_cluster_knows_may_be_too_old_too() -> None:
    setup = Setup(TagSettings(stale_if_error=100))
    setup.origin.error = UNAVAILABLE[0]
    setup.known(age=101)
    with pytest.raises(OriginUnreachableError):
        await setup.resolve()


@pytest.mark.parametrize("settings", [TagSettings(from_peers=False), TagSettings(stale_if_error=0)])
async def test_the_cluster_is_not_asked_where_configured_so(settings: TagSettings) -> None:
    setup = Setup(settings)
    setup.origin.error = UNAVAILABLE[0]
    setup.known(age=0)
    with pytest.raises(OriginUnreachableError):
        await setup.resolve()
    assert setup.references.asked == 0


async def test_hosted_tags_are_asked_of_nobody() -> None:
    setup = Setup(TagSettings())
    with pytest.raises(RegistryError) as caught:
        await setup.resolver.resolve(Repository(HOSTED, "app"), "1")
    assert caught.value.code == "MANIFEST_UNKNOWN"
    row = await setup.metadata.tag(APP, "1")
    assert row is None
    assert not setup.origin.calls


def test_media_type_from_a_peer_is_checked() -> None:
    digest = Digest.of(b"")
    assert described(KnownReference(digest, "a/b\r\nx: y", 1, 0)).media_type == GENERIC
    assert described(KnownReference(digest, OCI_MANIFEST, 1, 0)).media_type == OCI_MANIFEST


def test_unavailable() -> None:
    assert all(map(unavailable, UNAVAILABLE))
    assert not any(map(unavailable, ANSWERS))


async def test_a_rule_for_some_repositories() -> None:
    rule = TagRuleSettings(repositories=("test/app",), max_age=3600.0)
    setup = Setup(TagSettings(rules=(rule,)))
    for _ in range(3):
        assert await setup.resolve() == (setup.digest, False)
    assert setup.origin.calls["head"] == 1


async def test_what_another_node_was_just_told_is_not_asked_again() -> None:
    setup = Setup(TagSettings(max_age=30.0))
    digest = Digest.of(b"what another node was told")
    setup.references.fresh["test/app", "1"] = KnownReference(digest, OCI_MANIFEST, 21, 4.0)
    assert await setup.resolve() == (digest, False)
    assert setup.origin.calls["head"] == 0
    assert setup.references.turns == [("test/app", "1", 30.0)]
    assert setup.references.told == []
    setup.references.fresh.clear()
    setup.later(25.0)
    assert await setup.resolve() == (digest, False)
    setup.later(2.0)
    assert await setup.resolve() == (setup.digest, False), "its age counts from the origin's word"
    assert setup.origin.calls["head"] == 1
    assert len(setup.references.told) == 1


@pytest.mark.parametrize("error", [*UNAVAILABLE, *ANSWERS])
async def test_those_who_wait_hear_of_a_failure(error: OriginError) -> None:
    setup = Setup(TagSettings())
    setup.origin.error = error
    with pytest.raises(OriginError):
        await setup.resolve()
    assert setup.references.failed == [("test/app", "1")]


async def test_those_who_wait_hear_of_a_question_given_up() -> None:
    setup = Setup(TagSettings())
    setup.origin.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.resolve)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert setup.references.failed == [("test/app", "1")]


async def test_a_policy_of_no_peers_asks_no_peer() -> None:
    setup = Setup(TagSettings(from_peers=False))
    assert await setup.resolve() == (setup.digest, False)
    assert setup.references.turns == []


async def test_what_turns_out_to_be_private_is_told_to_nobody() -> None:
    setup = Setup(TagSettings())
    private = False

    async def learn(self_path: str, reference: str) -> object:
        nonlocal private
        found = await type(setup.origin).head(setup.origin, self_path, reference)
        private = True
        return found

    setup.resolver._private = lambda _: private  # learned with the first answer
    setup.origin.head = learn  # type: ignore[method-assign]
    assert await setup.resolve() == (setup.digest, False)
    assert setup.references.told == []
    assert setup.references.failed == [("test/app", "1")], "nobody waits for it"
    assert await setup.resolve() == (setup.digest, False)
    assert len(setup.references.turns) == 1
