from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.support.hosting_suite import APP, IMAGE, ManifestSuite, ReferrerSuite, digest, push

if TYPE_CHECKING:
    from p2p.metadata.sql import SqlMetadata


class TestManifest(ManifestSuite):
    """In a file, with hot answers in memory."""


class TestReferrer(ReferrerSuite):
    """In a file, with hot answers in memory."""


async def test_hot_answers_follow_removals(hosting: SqlMetadata) -> None:
    await push(hosting, IMAGE, "1")
    with trio.CancelScope() as scope:
        scope.cancel()  # answered from memory, without a checkpoint
        assert await hosting.tag(APP, "1") is not None
        assert await hosting.reaches(APP, IMAGE.digest)
    assert not scope.cancelled_caught
    await hosting.drop_repository(APP)
    assert await hosting.tag(APP, "1") is None
    assert not await hosting.reaches(APP, IMAGE.digest)
    assert not await hosting.reaches(APP, digest("layer"))
