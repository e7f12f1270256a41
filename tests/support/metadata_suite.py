"""What every implementation of ``Metadata`` must do; subclass it with a ``metadata`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.metadata.api import GENERIC, Metadata, TagRow

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
APP = Repository("docker.io", "library/app")
OTHER = Repository("docker.io", "library/other")
WHEN = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)


def row(content: bytes = b"manifest", when: datetime = WHEN) -> TagRow:
    return TagRow(Digest.of(content), MANIFEST, len(content), when)


def blob(content: bytes, media_type: str = GENERIC, size: int | None = None) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content) if size is None else size)


class MetadataSuite:
    async def test_unknown_is_none_or_empty(self, metadata: Metadata) -> None:
        assert await metadata.tag(APP, "1") is None
        assert await metadata.tags(APP, 10) == []
        assert await metadata.repositories("docker.io", 10) == []
        assert not await metadata.reaches(APP, Digest.of(b""))
        assert await metadata.describe(APP, Digest.of(b"")) is None

    async def test_tag_is_kept_to_the_microsecond(self, metadata: Metadata) -> None:
        await metadata.put_tag(APP, "1", row())
        assert await metadata.tag(APP, "1") == row()
        assert await metadata.tag(APP, "2") is None
        assert await metadata.tag(OTHER, "1") is None

    async def test_tag_moves(self, metadata: Metadata) -> None:
        await metadata.put_tag(APP, "1", row(b"old"))
        later = row(b"new", WHEN + timedelta(days=1))
        await metadata.put_tag(APP, "1", later)
        assert await metadata.tag(APP, "1") == later

    async def test_tagged_manifest_is_reached_even_after_the_tag_moved(self, metadata: Metadata) -> None:
        await metadata.put_tag(APP, "1", row(b"old"))
        await metadata.put_tag(APP, "1", row(b"new"))
        for content in (b"old", b"new"):
            assert await metadata.describe(APP, Digest.of(content)) == blob(content, MANIFEST)

    async def test_removed_tag_is_gone_and_its_manifest_still_reached(self, metadata: Metadata) -> None:
        await metadata.put_tag(APP, "1", row())
        await metadata.put_tag(APP, "2", row())
        await metadata.remove_tag(APP, "1")
        await metadata.remove_tag(APP, "none")
        await metadata.remove_tag(OTHER, "1")
        assert await metadata.tag(APP, "1") is None
        assert await metadata.tags(APP, 9) == ["2"]
        await metadata.remove_tag(APP, "2")
        assert await metadata.repositories("docker.io", 9) == []
        assert await metadata.reaches(APP, row().digest)

    async def test_link_is_of_one_repository_alone(self, metadata: Metadata) -> None:
        await metadata.link(APP, [blob(b"layer")])
        assert await metadata.reaches(APP, Digest.of(b"layer"))
        assert not await metadata.reaches(OTHER, Digest.of(b"layer"))
        assert await metadata.describe(OTHER, Digest.of(b"layer")) is None

    async def test_one_repository_cannot_mislead_another(self, metadata: Metadata) -> None:
        await metadata.link(APP, [blob(b"layer", "application/x.true")])
        await metadata.link(OTHER, [blob(b"layer", "application/x.false", 7)])
        assert await metadata.describe(APP, Digest.of(b"layer")) == blob(b"layer", "application/x.true")

    async def test_describe_gives_type_and_size_only(self, metadata: Metadata) -> None:
        rich = replace(blob(b"layer", "application/x.layer"), annotations=(("k", "v"),), urls=("http://x",))
        await metadata.link(APP, [rich])
        assert await metadata.describe(APP, rich.digest) == blob(b"layer", "application/x.layer")

    async def test_generic_type_and_no_size_never_replace_known_ones(self, metadata: Metadata) -> None:
        await metadata.link(APP, [blob(b"m", MANIFEST)])
        await metadata.link(APP, [blob(b"m", GENERIC, 0)])
        assert await metadata.describe(APP, Digest.of(b"m")) == blob(b"m", MANIFEST)

    async def test_better_type_replaces_generic(self, metadata: Metadata) -> None:
        await metadata.link(APP, [blob(b"m", GENERIC, 0)])
        await metadata.link(APP, [blob(b"m", MANIFEST)])
        assert await metadata.describe(APP, Digest.of(b"m")) == blob(b"m", MANIFEST)

    async def test_link_twice_in_one_call_and_none(self, metadata: Metadata) -> None:
        await metadata.link(APP, [])
        await metadata.link(APP, [blob(b"x"), blob(b"x", "application/x.y")])
        assert await metadata.describe(APP, Digest.of(b"x")) == blob(b"x", "application/x.y")

    async def test_tags_page_in_ascii_order(self, metadata: Metadata) -> None:
        for name in ("b", "a", "B", "_", "10", "9"):
            await metadata.put_tag(APP, name, row())
        assert await metadata.tags(APP, 100) == ["10", "9", "B", "_", "a", "b"]
        assert await metadata.tags(APP, 2) == ["10", "9"]
        assert await metadata.tags(APP, 2, "9") == ["B", "_"]
        assert await metadata.tags(APP, 2, "A") == ["B", "_"]
        assert await metadata.tags(APP, 0) == []

    async def test_repositories_are_those_with_tags(self, metadata: Metadata) -> None:
        await metadata.put_tag(OTHER, "1", row())
        await metadata.put_tag(APP, "1", row())
        await metadata.put_tag(Repository("ghcr.io", "x"), "1", row())
        await metadata.link(Repository("docker.io", "library/linked-only"), [blob(b"x")])
        assert await metadata.repositories("docker.io", 10) == ["library/app", "library/other"]
        assert await metadata.repositories("docker.io", 1) == ["library/app"]
        assert await metadata.repositories("docker.io", 10, "library/app") == ["library/other"]

    async def test_concurrent_writers(self, metadata: Metadata) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(metadata.put_tag, APP, f"{number:02}", row(b"%d" % number))
                nursery.start_soon(metadata.link, OTHER, [blob(b"%d" % number)])
        assert await metadata.tags(APP, 100) == [f"{number:02}" for number in range(20)]
        for number in range(20):
            assert await metadata.reaches(OTHER, Digest.of(b"%d" % number))
