"""What every implementation of ``Hosting`` must do; subclass it with a ``hosting`` fixture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
import trio

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from p2p.core.oci.reference import Repository
from p2p.metadata.api import GENERIC, Metadata, TagRow
from p2p.metadata.hosting import (
    HOSTED,
    Accepted,
    GarbageStatistics,
    Hosting,
    Place,
    Placed,
    Pushed,
    UploadRow,
)

APP = Repository(HOSTED, "app")
OTHER = Repository(HOSTED, "other")
PROXIED = Repository("docker.io", "library/app")
T0 = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
HOUR = timedelta(hours=1)
LEASE = T0 + HOUR
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Both(Metadata, Hosting, Protocol):
    """What a node opens."""


def blob(content: str, media_type: str = GENERIC) -> Descriptor:
    return Descriptor(media_type, Digest.of(content.encode()), len(content))


def digest(content: str) -> Digest:
    return Digest.of(content.encode())


@dataclass(frozen=True)
class Image:
    """A manifest by a name (its bytes don't matter here) and its children by theirs."""

    name: str
    layers: tuple[str, ...] = ("layer",)
    config: str = "config"
    subject: str = ""
    artifact_type: str = ""
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> Digest:
        return digest(self.name)

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            OCI_MANIFEST,
            config=blob(self.config, CONFIG),
            layers=tuple(blob(layer, LAYER) for layer in self.layers),
            subject=blob(self.subject, OCI_MANIFEST) if self.subject else None,
            artifact_type=self.artifact_type,
            annotations=self.annotations,
        )

    def pushed(self, *tags: str, immutable: frozenset[str] = frozenset()) -> Pushed:
        required = tuple(child.digest for child in self.manifest.children)
        return Pushed(blob(self.name, OCI_MANIFEST), self.manifest, tags, required, immutable)


def index(name: str, *children: str, required: bool = True) -> Pushed:
    manifest = Manifest(OCI_INDEX, manifests=tuple(blob(child, OCI_MANIFEST) for child in children))
    needs = tuple(child.digest for child in manifest.children) if required else ()
    return Pushed(blob(name, OCI_INDEX), manifest, (), needs)


IMAGE = Image("image")


async def push(
    hosting: Hosting, image: Image = IMAGE, *tags: str, repository: Repository = APP, lease: datetime = LEASE
) -> None:
    for content in (image.config, *image.layers):
        assert await hosting.add_blob(repository, blob(content), lease=lease)
    assert await hosting.put_manifest(repository, image.pushed(*tags), now=T0) == Accepted()


async def collect(hosting: Hosting, now: datetime) -> set[Digest]:
    """Review all that is due, as a collector does; gives what went."""
    gone = set()
    for each in await hosting.due(now, 1000):
        if await hosting.claim(each, now) is not None:
            await hosting.collected(each)
            gone.add(each)
    return gone


class BlobSuite:
    async def test_an_added_blob_is_linked_to_one_repository(self, hosting: Both) -> None:
        assert await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        assert await hosting.describe(APP, digest("layer")) == blob("layer")
        assert not await hosting.reaches(OTHER, digest("layer"))

    async def test_a_blob_that_nothing_refers_to_goes_after_its_lease(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        just_before = LEASE - timedelta(microseconds=1)
        assert await hosting.due(just_before, 9) == []
        assert await hosting.claim(digest("layer"), just_before) is None
        assert await hosting.due(LEASE, 9) == [digest("layer")]
        assert await hosting.claim(digest("layer"), LEASE) == Placed(digest("layer"), len("layer"))
        assert not await hosting.reaches(APP, digest("layer"))
        assert await hosting.due(LEASE, 9) == []
        assert await hosting.deleting() == [Placed(digest("layer"), len("layer"))]
        await hosting.collected(digest("layer"))
        assert await hosting.deleting() == []

    async def test_a_blob_that_is_being_deleted_is_refused_until_its_bytes_are_gone(
        self, hosting: Both
    ) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        assert await hosting.claim(digest("layer"), T0) is not None
        assert await hosting.claim(digest("layer"), T0) is None
        assert not await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        assert not await hosting.reaches(APP, digest("layer"))
        assert await hosting.mount(OTHER, digest("layer"), APP, lease=LEASE) is None
        assert await hosting.hold(APP, digest("layer"), lease=LEASE) is None
        await hosting.collected(digest("layer"))
        assert await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        await hosting.collected(digest("layer"))  # too late: these are new bytes
        assert await hosting.mount(OTHER, digest("layer"), APP, lease=LEASE) is not None

    async def test_a_lease_is_extended_and_never_shortened(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        assert await hosting.claim(digest("layer"), T0) is None
        assert await hosting.hold(APP, digest("layer"), lease=LEASE + HOUR) == blob("layer")
        assert await hosting.hold(APP, digest("layer"), lease=T0) == blob("layer")
        assert await hosting.claim(digest("layer"), LEASE) is None
        assert await hosting.due(LEASE + HOUR, 9) == [digest("layer")]
        assert await hosting.claim(digest("layer"), LEASE + HOUR) is not None

    async def test_what_is_not_linked_is_not_held(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        assert await hosting.hold(OTHER, digest("layer"), lease=LEASE) is None
        assert await hosting.hold(APP, digest("none"), lease=LEASE) is None

    async def test_mount_from_a_repository_that_reaches_it(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer", LAYER), lease=T0)
        assert await hosting.mount(OTHER, digest("layer"), APP, lease=LEASE) == blob("layer", LAYER)
        assert await hosting.describe(OTHER, digest("layer")) == blob("layer", LAYER)
        third = Repository(HOSTED, "third")
        assert await hosting.mount(third, digest("layer"), Repository(HOSTED, "no"), lease=LEASE) is None
        assert await hosting.mount(third, digest("none"), APP, lease=LEASE) is None
        assert not await hosting.reaches(third, digest("layer"))
        assert await hosting.claim(digest("layer"), T0) is None
        assert not await hosting.reaches(APP, digest("layer"))
        assert await hosting.reaches(OTHER, digest("layer"))

    async def test_mount_from_anywhere_means_the_same_registry(self, hosting: Both) -> None:
        await hosting.add_blob(PROXIED, blob("theirs"), lease=LEASE)
        assert await hosting.mount(APP, digest("theirs"), None, lease=LEASE) is None
        await hosting.add_blob(OTHER, blob("ours"), lease=LEASE)
        assert await hosting.mount(APP, digest("ours"), None, lease=LEASE) == blob("ours")

    async def test_what_is_only_cached_is_not_mounted(self, hosting: Both) -> None:
        await hosting.link(PROXIED, [blob("cached")])
        assert await hosting.mount(APP, digest("cached"), PROXIED, lease=LEASE) is None

    async def test_remove_blob(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        assert await hosting.remove_blob(OTHER, digest("layer")) is None
        assert await hosting.remove_blob(APP, digest("none")) is None
        assert await hosting.remove_blob(APP, digest("layer")) is True
        assert await hosting.remove_blob(APP, digest("layer")) is None
        assert not await hosting.reaches(APP, digest("layer"))
        # The lease was of the link: whoever deletes is obeyed at once.
        assert await collect(hosting, T0) == {digest("layer")}

    async def test_a_blob_in_two_repositories_stays_for_the_other(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        await hosting.add_blob(OTHER, blob("layer"), lease=LEASE)
        assert await hosting.remove_blob(APP, digest("layer")) is True
        assert await collect(hosting, T0) == set()
        assert await hosting.reaches(OTHER, digest("layer"))
        assert await hosting.garbage(T0) == GarbageStatistics(1, 0, 1)
        assert await collect(hosting, LEASE) == {digest("layer")}

    async def test_links_of_proxied_repositories_are_left_alone(self, hosting: Both) -> None:
        await hosting.link(PROXIED, [blob("layer")])
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        assert await collect(hosting, T0) == {digest("layer")}
        assert not await hosting.reaches(APP, digest("layer"))
        assert await hosting.reaches(PROXIED, digest("layer"))

    async def test_what_nobody_owns_is_never_claimed(self, hosting: Both) -> None:
        await hosting.link(PROXIED, [blob("cached")])
        await hosting.link(APP, [blob("cached")])
        assert await hosting.claim(digest("cached"), T0) is None
        assert await hosting.hold(APP, digest("cached"), lease=LEASE) == blob("cached")
        assert await hosting.remove_blob(APP, digest("cached")) is True
        assert await hosting.garbage(T0) == GarbageStatistics(0, 0, 0)


class ManifestSuite:
    async def test_a_manifest_with_its_tags(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "1", "latest")
        row = TagRow(IMAGE.digest, OCI_MANIFEST, len("image"), T0)
        assert await hosting.tag(APP, "1") == row
        assert await hosting.tags(APP, 9) == ["1", "latest"]
        assert await hosting.describe(APP, IMAGE.digest) == blob("image", OCI_MANIFEST)
        assert await hosting.repositories(HOSTED, 9) == ["app"]

    async def test_children_get_their_types_and_keep_their_real_sizes(self, hosting: Both) -> None:
        for content in ("config", "layer"):
            await hosting.add_blob(APP, blob(content), lease=LEASE)
        lying = replace(IMAGE.manifest, layers=(Descriptor(LAYER, digest("layer"), 10**9),))
        pushed = replace(IMAGE.pushed(), manifest=lying)
        assert await hosting.put_manifest(APP, pushed, now=T0) == Accepted()
        assert await hosting.describe(APP, digest("layer")) == blob("layer", LAYER)
        assert await hosting.describe(APP, digest("config")) == blob("config", CONFIG)

    async def test_missing_children_refuse_all(self, hosting: Both) -> None:
        await hosting.add_blob(OTHER, blob("layer"), lease=LEASE)
        accepted = await hosting.put_manifest(APP, IMAGE.pushed("1"), now=T0)
        assert accepted == Accepted(missing=(digest("config"), digest("layer")))
        await hosting.add_blob(APP, blob("config"), lease=LEASE)
        accepted = await hosting.put_manifest(APP, IMAGE.pushed("1"), now=T0)
        assert accepted == Accepted(missing=(digest("layer"),))
        assert await hosting.tag(APP, "1") is None
        assert not await hosting.reaches(APP, IMAGE.digest)
        assert await hosting.remove_manifest(APP, IMAGE.digest) is None

    async def test_the_same_again_and_with_more_tags(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "1")
        await push(hosting, IMAGE, "2")
        assert await hosting.tags(APP, 9) == ["1", "2"]
        assert await hosting.remove_manifest(APP, IMAGE.digest) == ["1", "2"]

    async def test_a_claimed_child_is_missing(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("config"), lease=LEASE)
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        assert await hosting.claim(digest("layer"), T0) is not None
        accepted = await hosting.put_manifest(APP, IMAGE.pushed(), now=T0)
        assert accepted.missing == (digest("layer"),)

    async def test_a_child_linked_elsewhere_too_is_missing_while_deleted(self, hosting: Both) -> None:
        # A repository that is not hosted keeps its link; the bytes are going all the same.
        for content in ("config", "layer"):
            await hosting.add_blob(PROXIED, blob(content), lease=T0)
        assert await hosting.claim(digest("layer"), T0) is not None
        accepted = await hosting.put_manifest(PROXIED, IMAGE.pushed(), now=T0)
        assert accepted.missing == (digest("layer"),)

    async def test_a_manifest_whose_own_bytes_are_being_deleted_is_missing(self, hosting: Both) -> None:
        for content in ("config", "layer"):
            await hosting.add_blob(APP, blob(content), lease=LEASE)
        await hosting.add_blob(APP, blob("image"), lease=T0)
        assert await hosting.claim(IMAGE.digest, T0) is not None
        accepted = await hosting.put_manifest(APP, IMAGE.pushed("1"), now=T0)
        assert accepted.missing == (IMAGE.digest,)
        await hosting.collected(IMAGE.digest)
        assert await hosting.put_manifest(APP, IMAGE.pushed("1"), now=T0) == Accepted()

    async def test_immutable_tags(self, hosting: Both) -> None:
        fixed = frozenset({"1", "unused"})
        for content in ("config", "layer"):
            await hosting.add_blob(APP, blob(content), lease=LEASE)
        assert await hosting.put_manifest(APP, IMAGE.pushed("1", immutable=fixed), now=T0) == Accepted()
        assert await hosting.put_manifest(APP, IMAGE.pushed("1", immutable=fixed), now=T0) == Accepted()
        other = Image("moved")
        accepted = await hosting.put_manifest(APP, other.pushed("2", "1", immutable=fixed), now=T0)
        assert accepted == Accepted(conflicts=("1",))
        assert await hosting.tags(APP, 9) == ["1"]
        assert not await hosting.reaches(APP, other.digest)
        assert await hosting.put_manifest(APP, other.pushed("1"), now=T0) == Accepted()

    async def test_nothing_of_an_image_is_collected_even_untagged(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "1")
        assert await hosting.untag(APP, "1") == IMAGE.digest
        assert await hosting.untag(APP, "1") is None
        assert await hosting.tag(APP, "1") is None
        assert await collect(hosting, LEASE) == set()
        assert await hosting.garbage(LEASE) == GarbageStatistics(0, 0, 0)
        for content in ("image", "config", "layer"):
            assert await hosting.reaches(APP, digest(content))
            assert await hosting.remove_blob(APP, digest(content)) is False

    async def test_a_removed_manifest_is_gone_at_once_and_its_content_after_the_leases(
        self, hosting: Both
    ) -> None:
        await push(hosting, IMAGE, "1", "2")
        assert await hosting.remove_manifest(OTHER, IMAGE.digest) is None
        assert await hosting.remove_manifest(APP, IMAGE.digest) == ["1", "2"]
        assert await hosting.remove_manifest(APP, IMAGE.digest) is None
        assert await hosting.tags(APP, 9) == []
        assert await hosting.tag(APP, "1") is None
        assert not await hosting.reaches(APP, IMAGE.digest)
        assert await collect(hosting, T0) == {IMAGE.digest}
        assert await hosting.garbage(T0) == GarbageStatistics(2, 0, 2)
        assert await collect(hosting, LEASE) == {digest("config"), digest("layer")}

    async def test_content_shared_by_images_stays(self, hosting: Both) -> None:
        await push(hosting, IMAGE, lease=T0)
        await push(hosting, Image("second", layers=("layer", "more")), lease=T0)
        await hosting.remove_manifest(APP, digest("second"))
        assert await collect(hosting, T0) == {digest("second"), digest("more")}
        assert await hosting.remove_blob(APP, digest("layer")) is False

    async def test_a_reference_counts_in_its_own_repository_only(self, hosting: Both) -> None:
        await push(hosting, IMAGE, lease=T0)
        await hosting.add_blob(OTHER, blob("layer"), lease=T0)
        assert await hosting.claim(digest("layer"), T0) is None
        assert await hosting.reaches(APP, digest("layer"))
        assert not await hosting.reaches(OTHER, digest("layer"))

    async def test_a_manifest_of_an_index_may_go(self, hosting: Both) -> None:
        await push(hosting, IMAGE, lease=T0)
        assert await hosting.put_manifest(APP, index("list", "image"), now=T0) == Accepted()
        assert await hosting.remove_blob(APP, IMAGE.digest) is False
        assert await hosting.remove_manifest(APP, IMAGE.digest) == []
        assert not await hosting.reaches(APP, IMAGE.digest)
        assert await collect(hosting, T0) == {digest("image"), digest("config"), digest("layer")}

    async def test_a_sparse_index_keeps_what_comes_later(self, hosting: Both) -> None:
        sparse = index("list", "image", required=False)
        assert await hosting.put_manifest(APP, sparse, now=T0) == Accepted()
        await hosting.add_blob(APP, blob("image"), lease=T0)
        assert await collect(hosting, T0) == set()
        assert await hosting.reaches(APP, IMAGE.digest)

    async def test_a_removed_manifest_that_is_a_layer_too_stays_as_that(self, hosting: Both) -> None:
        await push(hosting, IMAGE, lease=T0)
        await push(hosting, Image("odd", layers=("image",)), lease=T0)
        assert await hosting.remove_manifest(APP, IMAGE.digest) == []
        assert await collect(hosting, T0) == {digest("layer")}
        assert await hosting.reaches(APP, IMAGE.digest)

    async def test_drop_repository(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "1")
        await push(hosting, IMAGE, "1", repository=OTHER, lease=T0)
        await hosting.add_blob(APP, blob("own"), lease=LEASE)
        assert await hosting.drop_repository(APP) == 4
        assert await hosting.drop_repository(APP) == 0
        assert await hosting.tag(APP, "1") is None
        assert await hosting.repositories(HOSTED, 9) == ["other"]
        assert not await hosting.reaches(APP, digest("own"))
        assert await collect(hosting, T0) == {digest("own")}
        assert await hosting.remove_manifest(OTHER, IMAGE.digest) == ["1"]
        await push(hosting, IMAGE, "again")
        assert await hosting.tags(APP, 9) == ["again"]


class ReferrerSuite:
    async def test_referrers_by_digest_with_their_types(self, hosting: Both) -> None:
        await push(hosting)
        notes = (("z", "1"), ("a", "ü"))
        await push(hosting, Image("signature", subject="image", artifact_type="x/sig", annotations=notes))
        await push(hosting, Image("old", subject="image"))
        await push(hosting, Image("unrelated", subject="another"))
        found = await hosting.referrers(APP, IMAGE.digest, None, 9)
        signature = replace(blob("signature", OCI_MANIFEST), artifact_type="x/sig", annotations=notes)
        old = replace(blob("old", OCI_MANIFEST), artifact_type=CONFIG)
        assert list(found) == sorted([signature, old], key=lambda each: str(each.digest))
        assert await hosting.referrers(APP, IMAGE.digest, "x/sig", 9) == [signature]
        assert await hosting.referrers(APP, IMAGE.digest, CONFIG, 9) == [old]
        assert await hosting.referrers(APP, IMAGE.digest, "x/none", 9) == []
        assert await hosting.referrers(OTHER, IMAGE.digest, None, 9) == []

    async def test_referrers_page(self, hosting: Both) -> None:
        names = [f"sbom {number}" for number in range(7)]
        for name in names:
            await push(hosting, Image(name, subject="missing"))
        wanted = sorted(str(digest(name)) for name in names)
        seen: list[str] = []
        while page := await hosting.referrers(APP, digest("missing"), CONFIG, 3, seen[-1] if seen else ""):
            seen += [str(each.digest) for each in page]
        assert seen == wanted
        assert await hosting.referrers(APP, digest("missing"), None, 0) == []

    async def test_a_removed_referrer_is_none(self, hosting: Both) -> None:
        await push(hosting, Image("signature", subject="image"))
        await hosting.remove_manifest(APP, digest("signature"))
        assert await hosting.referrers(APP, IMAGE.digest, None, 9) == []


class ChangeSuite:
    """What follows the metadata learns of every change, and of what there is then."""

    async def test_repositories_by_their_last_change(self, hosting: Both) -> None:
        assert await hosting.changes(HOSTED, 9) == []
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        assert await hosting.changes(HOSTED, 9) == [], "a blob alone is no change"
        await push(hosting, IMAGE, "1")
        await push(hosting, IMAGE, "1", repository=OTHER)
        first = await hosting.changes(HOSTED, 9)
        assert [each.repository for each in first] == [APP, OTHER]
        assert first[0].at < first[1].at
        await push(hosting, Image("second"))
        again = await hosting.changes(HOSTED, 9, (first[1].at, OTHER.path))
        assert [each.repository for each in again] == [APP], "it is in the list once, at the end"
        assert again[0].at > first[1].at

    @pytest.mark.parametrize("verb", ["untag", "remove_manifest", "drop_repository", "the same push"])
    async def test_every_verb_that_changes_something_counts(self, hosting: Both, verb: str) -> None:
        await push(hosting, IMAGE, "1", "2")
        (before,) = await hosting.changes(HOSTED, 9)
        match verb:
            case "untag":
                await hosting.untag(APP, "1")
            case "remove_manifest":
                await hosting.remove_manifest(APP, IMAGE.digest)
            case "drop_repository":
                await hosting.drop_repository(APP)
            case _:
                await push(hosting, IMAGE, "1")
        (after,) = await hosting.changes(HOSTED, 9)
        assert after.repository == APP
        assert after.at > before.at

    async def test_what_changes_nothing_does_not_count(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "1")
        before = await hosting.changes(HOSTED, 9)
        assert await hosting.untag(APP, "none") is None
        assert await hosting.untag(OTHER, "none") is None
        assert await hosting.remove_manifest(APP, digest("none")) is None
        assert await hosting.drop_repository(OTHER) == 0
        assert (await hosting.put_manifest(APP, Image("x", layers=("no",)).pushed("1"), now=T0)).missing
        await hosting.add_blob(APP, blob("loose"), lease=T0)
        await collect(hosting, T0)
        await hosting.put_tag(PROXIED, "1", TagRow(IMAGE.digest, OCI_MANIFEST, 5, T0))
        assert await hosting.changes(HOSTED, 9) == before
        assert await hosting.changes(PROXIED.registry, 9) == []

    async def test_a_dropped_repository_is_told_of_and_can_come_again(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "1")
        await hosting.drop_repository(APP)
        assert await hosting.drop_repository(APP) == 0
        (dropped,) = await hosting.changes(HOSTED, 9)
        assert await hosting.manifests(APP, 9) == []
        assert await hosting.tagged(APP, 9) == []
        await push(hosting, IMAGE, "1")
        (back,) = await hosting.changes(HOSTED, 9)
        assert back.at > dropped.at
        assert [each.digest for each in await hosting.manifests(APP, 9)] == [IMAGE.digest]

    async def test_changes_come_in_pages(self, hosting: Both) -> None:
        names = [Repository(HOSTED, f"r{number}") for number in (3, 1, 4, 0, 2)]
        for name in names:
            await push(hosting, IMAGE, repository=name)
        seen: list[Repository] = []
        after = (0, "")
        while page := await hosting.changes(HOSTED, 2, after):
            assert len(page) <= 2
            seen += [each.repository for each in page]
            after = (page[-1].at, page[-1].repository.path)
        assert seen == names
        assert await hosting.changes(HOSTED, 0) == []

    async def test_all_manifests_by_digest_tagged_or_not(self, hosting: Both) -> None:
        names = [f"image {number}" for number in range(5)]
        for name in names:
            await push(hosting, Image(name), *(("1",) if name == names[0] else ()))
        await hosting.put_manifest(APP, index("list", *names), now=T0)
        await hosting.remove_manifest(APP, digest(names[1]))
        wanted = {digest(name): blob(name, OCI_MANIFEST) for name in names if name != names[1]}
        wanted[digest("list")] = blob("list", OCI_INDEX)
        seen: list[Descriptor] = []
        while page := await hosting.manifests(APP, 2, str(seen[-1].digest) if seen else ""):
            seen += page
        assert seen == [wanted[each] for each in sorted(wanted, key=str)]
        assert await hosting.manifests(OTHER, 9) == []

    async def test_tags_with_what_they_point_to(self, hosting: Both) -> None:
        await push(hosting, IMAGE, "a", "B", "c")
        await push(hosting, Image("second"), "c")
        one, two = blob("image", OCI_MANIFEST), blob("second", OCI_MANIFEST)
        assert await hosting.tagged(APP, 9) == [("B", one), ("a", one), ("c", two)]
        assert await hosting.tagged(APP, 1, "B") == [("a", one)]
        assert await hosting.tagged(APP, 9, "c") == []
        assert await hosting.tagged(OTHER, 9) == []


class UploadSuite:
    async def test_sessions(self, hosting: Both) -> None:
        row = UploadRow("a", APP, T0)
        await hosting.begin_upload(row)
        assert await hosting.upload("a") == row
        assert await hosting.upload("b") is None
        await hosting.extend_upload("a", LEASE)
        await hosting.extend_upload("b", LEASE)
        assert await hosting.upload("a") == UploadRow("a", APP, LEASE)
        assert await hosting.end_upload("a") is True
        assert await hosting.end_upload("a") is False
        assert await hosting.upload("a") is None

    async def test_expired_sessions_come_oldest_first(self, hosting: Both) -> None:
        late, early = UploadRow("a", APP, T0), UploadRow("b", OTHER, T0 - HOUR)
        for row in (late, early, UploadRow("c", APP, LEASE)):
            await hosting.begin_upload(row)
        assert await hosting.expired_uploads(T0, 9) == [early, late]
        assert await hosting.expired_uploads(T0, 1) == [early]
        assert await hosting.expired_uploads(T0 - HOUR * 2, 9) == []


class GarbageSuite:
    async def test_the_longest_overdue_comes_first(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("late"), lease=T0)
        await hosting.add_blob(APP, blob("early"), lease=T0 - HOUR)
        await hosting.add_blob(APP, blob("future"), lease=LEASE)
        assert await hosting.due(T0, 9) == [digest("early"), digest("late")]
        assert await hosting.due(T0, 1) == [digest("early")]
        assert await hosting.garbage(T0) == GarbageStatistics(3, 2, 0)

    async def test_who_is_alone_collects(self, hosting: Both) -> None:
        assert await hosting.collects()
        assert await hosting.collects()

    async def test_an_unknown_digest(self, hosting: Both) -> None:
        assert await hosting.claim(digest("none"), T0) is None
        await hosting.collected(digest("none"))
        assert await hosting.deleting() == []

    async def test_a_preview_tells_what_a_review_would_do_and_changes_nothing(self, hosting: Both) -> None:
        third = Repository(HOSTED, "third")
        await hosting.add_blob(APP, blob("goes"), lease=T0)
        await hosting.add_blob(OTHER, blob("goes"), lease=T0 - HOUR)
        await hosting.add_blob(APP, blob("leased"), lease=LEASE)
        await hosting.add_blob(third, blob("leased"), lease=T0)
        await push(hosting, IMAGE, "1", lease=T0)
        names = ("goes", "leased", "config", "layer", "image", "none")
        before = await hosting.garbage(T0)
        for _ in range(2):
            told = [await hosting.reviewed(digest(name), T0) for name in names]
            assert told == [len("goes"), None, None, None, None, None]
        assert await hosting.garbage(T0) == before
        assert set(await hosting.due(T0, 9)) == {
            digest(each) for each in ("goes", "leased", "config", "layer")
        }
        assert await hosting.deleting() == []
        for repository, name in ((APP, "goes"), (OTHER, "goes"), (APP, "leased"), (third, "leased")):
            assert await hosting.reaches(repository, digest(name))
        assert await hosting.claim(digest("goes"), T0) == Placed(digest("goes"), len("goes"))
        assert await hosting.reviewed(digest("goes"), T0) is None, "it is being deleted"

    async def test_a_review_that_is_put_off_comes_at_the_earliest_lease_end(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=LEASE + HOUR)
        await hosting.add_blob(OTHER, blob("layer"), lease=LEASE)
        await hosting.add_blob(Repository(HOSTED, "third"), blob("layer"), lease=T0)
        assert await hosting.claim(digest("layer"), T0) is None
        assert await hosting.due(LEASE - timedelta(microseconds=1), 9) == []
        assert await hosting.due(LEASE, 9) == [digest("layer")]
        assert await hosting.claim(digest("layer"), LEASE) is None
        assert not await hosting.reaches(OTHER, digest("layer"))
        assert await hosting.garbage(LEASE) == GarbageStatistics(1, 0, 2)

    @pytest.mark.slow
    async def test_pushes_and_reviews_at_once_lose_nothing(self, hosting: Both) -> None:
        """Each accepted manifest has all its bytes, whatever a collector does meanwhile."""
        bytes_here: set[Digest] = set()
        accepted: dict[int, bool] = {}
        done = trio.Event()

        async def store(content: str, repository: Repository) -> None:
            # As the front end: bytes, then the row, and then a look whether the bytes are still there.
            while True:
                bytes_here.add(digest(content))
                added = await hosting.add_blob(repository, blob(content), lease=LEASE)
                if added and digest(content) in bytes_here:
                    return
                await trio.lowlevel.checkpoint()

        async def pusher(number: int) -> None:
            repository = (APP, OTHER)[number % 2]
            image = Image(f"image {number}", layers=("shared", f"layer {number % 5}"))
            for content in (image.config, *image.layers, image.name):
                await trio.lowlevel.checkpoint()
                source = (OTHER, APP)[number % 2]
                if await hosting.mount(repository, digest(content), source, lease=LEASE) is None:
                    await store(content, repository)
            answer = await hosting.put_manifest(repository, image.pushed(str(number)), now=T0)
            accepted[number] = answer == Accepted()
            if number % 3 == 0:
                await hosting.remove_manifest(repository, image.digest)
                accepted[number] = False

        async def collector() -> None:
            while not done.is_set():
                for content in ("shared", "config", *(f"layer {number}" for number in range(5))):
                    if await hosting.claim(digest(content), LEASE) is not None:
                        bytes_here.discard(digest(content))
                        await hosting.collected(digest(content))
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collector)
            async with trio.open_nursery() as pushers:
                for number in range(24):
                    pushers.start_soon(pusher, number)
            done.set()
        for number, kept in accepted.items():
            if kept:
                assert digest("shared") in bytes_here
                assert digest(f"layer {number % 5}") in bytes_here
                assert await hosting.reaches((APP, OTHER)[number % 2], digest("shared"))


class PlaceSuite:
    """Where blobs lie in shared content, and what is being put there."""

    async def test_a_blob_has_the_place_that_it_was_put_to(self, hosting: Both) -> None:
        assert await hosting.place(digest("layer")) is None
        assert await placed(hosting, "layer", "one")
        assert await hosting.place(digest("layer")) == "one"
        assert await hosting.places(9) == [Placed(digest("layer"), len("layer"), "one")]
        assert await hosting.intents(LEASE, 9) == []

    async def test_one_without_a_place(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        assert await hosting.place(digest("layer")) == ""

    async def test_places_come_in_pages(self, hosting: Both) -> None:
        names = sorted(("a", "b", "c"), key=lambda name: str(digest(name)))
        for name in names:
            assert await placed(hosting, name, f"at {name}")
        found = await hosting.places(2)
        assert [each.key for each in found] == [f"at {name}" for name in names[:2]]
        found = await hosting.places(2, str(found[-1].digest))
        assert [each.key for each in found] == [f"at {names[2]}"]

    async def test_a_place_that_was_not_noted_is_refused(self, hosting: Both) -> None:
        assert not await hosting.add_blob(APP, blob("layer"), lease=LEASE, place=Place("never"))
        assert await hosting.place(digest("layer")) is None
        assert not await hosting.reaches(APP, digest("layer"))

    async def test_the_second_put_is_nobodys(self, hosting: Both) -> None:
        assert await placed(hosting, "layer", "one")
        assert await placed(hosting, "layer", "two", OTHER)
        assert await hosting.place(digest("layer")) == "one"
        assert await hosting.reaches(OTHER, digest("layer"))
        assert await hosting.intents(LEASE, 9) == ["two"]
        assert await hosting.doomed(["one", "two"], LEASE) == ["two"]

    async def test_what_a_row_says_must_hold_still(self, hosting: Both) -> None:
        assert await placed(hosting, "layer", "one", lease=T0)
        same, other = Place("one", new=False), Place("two", new=False)
        assert await hosting.add_blob(OTHER, blob("layer"), lease=T0, place=same)
        assert not await hosting.add_blob(OTHER, blob("layer"), lease=LEASE, place=other)
        assert not await hosting.add_blob(OTHER, blob("none"), lease=LEASE, place=same)
        assert await hosting.claim(digest("layer"), T0) == Placed(digest("layer"), 5, "one")
        assert not await hosting.add_blob(OTHER, blob("layer"), lease=LEASE, place=same)
        await hosting.collected(digest("layer"), "one")
        assert not await hosting.add_blob(OTHER, blob("layer"), lease=LEASE, place=same)
        assert await hosting.place(digest("layer")) is None

    async def test_a_push_takes_over_what_is_being_deleted(self, hosting: Both) -> None:
        assert await placed(hosting, "layer", "one", lease=T0)
        assert await hosting.claim(digest("layer"), T0) is not None
        assert await placed(hosting, "layer", "two")
        assert await hosting.deleting() == []
        assert await hosting.place(digest("layer")) == "two"
        # Who claimed it comes to its end: the row is another one's.
        await hosting.collected(digest("layer"), "one")
        assert await hosting.place(digest("layer")) == "two"
        assert await hosting.doomed(["one"], LEASE) == ["one"]
        assert await hosting.claim(digest("layer"), LEASE) == Placed(digest("layer"), 5, "two")

    async def test_a_row_that_is_deleted_again_is_not_the_first_ones(self, hosting: Both) -> None:
        assert await placed(hosting, "layer", "one", lease=T0)
        await hosting.claim(digest("layer"), T0)
        assert await placed(hosting, "layer", "two", lease=T0)
        assert await hosting.claim(digest("layer"), T0) is not None
        await hosting.collected(digest("layer"), "one")
        assert await hosting.deleting() == [Placed(digest("layer"), 5, "two")]
        await hosting.collected(digest("layer"), "two")
        assert await hosting.deleting() == []

    async def test_a_manifest_has_a_place_too(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("config"), lease=LEASE)
        await hosting.add_blob(APP, blob("layer"), lease=LEASE)
        there = replace(IMAGE.pushed("1"), place=Place("one"))
        assert (await hosting.put_manifest(APP, there, now=T0)).missing == (IMAGE.digest,)
        await hosting.intend("one", T0)
        assert await hosting.put_manifest(APP, there, now=T0) == Accepted()
        assert await hosting.place(IMAGE.digest) == "one"
        again = replace(IMAGE.pushed("2"), place=Place("one", new=False))
        assert await hosting.put_manifest(APP, again, now=T0) == Accepted()
        await hosting.remove_manifest(APP, IMAGE.digest)
        assert await hosting.claim(IMAGE.digest, LEASE) == Placed(IMAGE.digest, len("image"), "one")
        assert (await hosting.put_manifest(APP, again, now=T0)).missing == (IMAGE.digest,)
        await hosting.intend("two", T0)
        over = replace(IMAGE.pushed("2"), place=Place("two"))
        assert await hosting.put_manifest(APP, over, now=T0) == Accepted()
        await hosting.collected(IMAGE.digest, "one")
        assert await hosting.place(IMAGE.digest) == "two"

    async def test_a_manifest_that_is_refused_leaves_its_note(self, hosting: Both) -> None:
        await hosting.intend("one", T0)
        there = replace(IMAGE.pushed("1"), place=Place("one"))
        assert (await hosting.put_manifest(APP, there, now=T0)).missing
        assert await hosting.place(IMAGE.digest) is None
        assert await hosting.intents(T0, 9) == ["one"]

    async def test_what_was_taken_for_an_orphan_never_counts(self, hosting: Both) -> None:
        await hosting.intend("one", T0)
        assert await hosting.doomed(["one", "unknown"], T0 - HOUR) == ["unknown"]
        assert await hosting.doomed(["one"], T0) == ["one"]
        assert not await hosting.add_blob(APP, blob("layer"), lease=LEASE, place=Place("one"))
        assert await hosting.place(digest("layer")) is None

    async def test_a_place_is_never_doomed(self, hosting: Both) -> None:
        assert await placed(hosting, "layer", "one", lease=T0)
        assert await hosting.doomed(["one"], LEASE) == []
        assert await hosting.claim(digest("layer"), T0) is not None
        assert await hosting.doomed(["one"], LEASE) == []

    async def test_notes_come_oldest_first(self, hosting: Both) -> None:
        for number, key in enumerate(("c", "a", "b")):
            await hosting.intend(key, T0 + number * HOUR)
        assert await hosting.intents(T0 + HOUR, 9) == ["c", "a"]
        assert await hosting.intents(T0 + 9 * HOUR, 1) == ["c"]

    async def test_what_has_no_place_is_given_one_once(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        assert not await hosting.relocate(digest("layer"), Place("one"))
        await hosting.intend("one", T0)
        await hosting.intend("two", T0)
        assert not await hosting.relocate(digest("none"), Place("one"))
        assert await hosting.relocate(digest("layer"), Place("one"))
        assert not await hosting.relocate(digest("layer"), Place("two"))
        assert await hosting.place(digest("layer")) == "one"
        assert await hosting.intents(T0, 9) == ["two"]

    async def test_what_is_being_deleted_is_given_no_place(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        await hosting.claim(digest("layer"), T0)
        await hosting.intend("one", T0)
        assert not await hosting.relocate(digest("layer"), Place("one"))

    async def test_a_push_gives_a_place_to_what_has_none(self, hosting: Both) -> None:
        await hosting.add_blob(APP, blob("layer"), lease=T0)
        assert await placed(hosting, "layer", "one")
        assert await hosting.place(digest("layer")) == "one"

    async def test_the_content_is_one_databases(self, hosting: Both) -> None:
        owner = await hosting.content_owner()
        assert owner
        assert not await hosting.any_placed()
        assert await placed(hosting, "layer", "one", lease=T0)
        assert await hosting.any_placed()
        assert await hosting.content_owner() == owner
        assert await hosting.claim(digest("layer"), T0) is not None
        assert await hosting.any_placed()
        await hosting.collected(digest("layer"), "one")
        assert not await hosting.any_placed()


async def placed(
    hosting: Hosting, content: str, key: str, repository: Repository = APP, *, lease: datetime = LEASE
) -> bool:
    """Push a blob to a new place."""
    await hosting.intend(key, T0)
    return await hosting.add_blob(repository, blob(content), lease=lease, place=Place(key))


class HostingSuite(
    BlobSuite, ManifestSuite, ReferrerSuite, ChangeSuite, UploadSuite, GarbageSuite, PlaceSuite
):
    """All of it."""
