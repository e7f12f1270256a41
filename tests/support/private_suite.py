"""What every implementation of ``PrivateRecords`` must do; subclass it with a ``private`` fixture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.metadata.api import Metadata
from p2p.metadata.hosting import HOSTED
from p2p.metadata.private import PrivateRecords, VisibilityRow
from tests.support.metadata_suite import blob

SECRET = Repository("ghcr.io", "org/secret")
OTHER = Repository("ghcr.io", "org/other")
OPEN = Repository("docker.io", "library/open")
OWN = Repository(HOSTED, "team/app")
NOW = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
ONE, TWO, THREE = (Digest.of(data) for data in (b"one", b"two", b"three"))


class Both(Metadata, PrivateRecords, Protocol):
    """What a node opens."""


async def rows(private: PrivateRecords) -> dict[tuple[Digest, Repository], bool]:
    return {(digest, repository): proven for digest, repository, proven in await private.confined()}


class PrivateSuite:
    async def test_nothing_is_known_at_first(self, private: Both) -> None:
        assert await private.visibility(SECRET) is None
        await private.link(SECRET, [blob(b"one")])
        assert await private.visibility(SECRET) is None
        assert await private.confined() == []
        assert await private.release_all(SECRET) == []
        assert list(await private.confine_all(OTHER)) == []

    async def test_a_judgement_is_kept_to_the_microsecond_and_replaced(self, private: Both) -> None:
        row = VisibilityRow(private=True, judged_at=NOW)
        await private.put_visibility(SECRET, row)
        assert await private.visibility(SECRET) == row
        later = VisibilityRow(private=False, judged_at=NOW + timedelta(minutes=5))
        await private.put_visibility(SECRET, later)
        assert await private.visibility(SECRET) == later
        assert await private.visibility(OTHER) is None

    async def test_proven_once_is_proven_for_good(self, private: Both) -> None:
        await private.confine(SECRET, ONE, proven=False)
        assert await rows(private) == {(ONE, SECRET): False}
        await private.confine(SECRET, ONE, proven=True)
        await private.confine(SECRET, ONE, proven=False)
        await private.confine(OTHER, ONE, proven=False)
        assert await rows(private) == {(ONE, SECRET): True, (ONE, OTHER): False}

    async def test_release_is_of_one_digest_wherever_it_came_from(self, private: Both) -> None:
        for repository in (SECRET, OTHER):
            await private.confine(repository, ONE, proven=True)
            await private.confine(repository, TWO, proven=True)
        await private.release(ONE)
        await private.release(ONE)
        assert await rows(private) == {(TWO, SECRET): True, (TWO, OTHER): True}

    async def test_all_of_a_repository_is_confined_and_nothing_of_it_proven(self, private: Both) -> None:
        await private.link(SECRET, [blob(b"one"), blob(b"two")])
        await private.link(OPEN, [blob(b"one"), blob(b"three")])
        await private.confine(SECRET, TWO, proven=True)
        assert set(await private.confine_all(SECRET)) == {ONE, TWO}
        assert await rows(private) == {(ONE, SECRET): False, (TWO, SECRET): True}

    async def test_a_public_repository_releases_what_it_was_proven_to_reach(self, private: Both) -> None:
        await private.confine(SECRET, ONE, proven=True)
        await private.confine(OTHER, ONE, proven=True)
        await private.confine(SECRET, TWO, proven=False)
        # Only named by the repository that turned public: it stays the other one's.
        await private.confine(SECRET, THREE, proven=False)
        await private.confine(OTHER, THREE, proven=True)
        assert set(await private.release_all(SECRET)) == {ONE, TWO}
        assert await rows(private) == {(THREE, OTHER): True}

    async def test_what_is_hosted_here_too_is_not_confined(self, private: Both) -> None:
        await private.confine(SECRET, ONE, proven=True)
        await private.confine(SECRET, TWO, proven=True)
        await private.link(OWN, [blob(b"one")])
        await private.link(OPEN, [blob(b"two")])
        assert await rows(private) == {(TWO, SECRET): True}

    async def test_what_was_never_judged_can_be_distrusted(self, private: Both) -> None:
        await private.link(SECRET, [blob(b"one")])
        await private.link(OPEN, [blob(b"two")])
        await private.link(OWN, [blob(b"three")])
        await private.link(OTHER, [blob(b"two")])
        known = VisibilityRow(private=False, judged_at=NOW)
        await private.put_visibility(OTHER, known)
        assert sorted(await private.unjudged()) == ["docker.io", "ghcr.io"]
        await private.distrust("ghcr.io")
        assert await private.unjudged() == ["docker.io"]
        assert await rows(private) == {(ONE, SECRET): False}
        judged = await private.visibility(SECRET)
        assert judged is not None
        assert judged.private
        assert judged.judged_at < NOW - timedelta(days=365)
        assert await private.visibility(OTHER) == known
