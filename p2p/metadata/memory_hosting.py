"""Hosting in memory: for tests, and for nodes that keep nothing."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from p2p.core.oci.manifest import INDEX_TYPES
from p2p.core.oci.reference import Repository
from p2p.metadata.api import TagRow
from p2p.metadata.hosting import (
    HOSTED,
    Accepted,
    Changed,
    GarbageStatistics,
    Placed,
    UploadRow,
    artifact_type_of,
)
from p2p.metadata.memory_private import MemoryPrivacy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.manifest import Manifest
    from p2p.metadata.hosting import Place, Pushed

_NOW = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryHosting(MemoryPrivacy):
    """``Metadata``, ``PrivateRecords`` and ``Hosting`` in dictionaries, forgotten with the process.

    ``shared``: whether several front ends of this process use it.
    """

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        self._changed: dict[Repository, int] = {}
        self._blobs: dict[Digest, int] = {}
        self._deleting: dict[Digest, int] = {}
        self._places: dict[Digest, str] = {}
        self._intents: dict[str, datetime] = {}
        self._owner = str(uuid.uuid4())
        self._leases: dict[tuple[Repository, Digest], datetime] = {}
        self._manifests: dict[Repository, dict[Digest, Manifest]] = {}
        self._queue: dict[Digest, datetime] = {}
        self._retries: Counter[Digest] = Counter()
        self._uploads: dict[str, UploadRow] = {}

    # ── blobs ───────────────────────────────────────────────────────────────────────────────────────

    async def add_blob(
        self, repository: Repository, blob: Descriptor, *, lease: datetime, place: Place | None = None
    ) -> bool:
        """Record a blob, link it, and keep it until ``lease`` at least."""
        if not self._ownable(blob.digest, place):
            return False
        self._own(blob.digest, blob.size, place)
        await self.link(repository, [blob])
        self._lease(repository, blob.digest, lease)
        self._review((blob.digest,), lease)
        return True

    async def mount(
        self, repository: Repository, digest: Digest, source: Repository | None, *, lease: datetime
    ) -> Descriptor | None:
        """Link an owned blob that ``source`` reaches (None: any repository of the same registry)."""
        if digest not in self._blobs:
            return None
        sources = [each for each in self._links if each.registry == repository.registry]
        for each in sources if source is None else [source]:
            found = await self.describe(each, digest)
            if found is not None:
                await self.add_blob(repository, found, lease=lease)
                return await self.describe(repository, digest)
        return None

    async def hold(self, repository: Repository, digest: Digest, *, lease: datetime) -> Descriptor | None:
        """Describe a linked digest and extend its lease."""
        found = await self.describe(repository, digest)
        if found is None or digest in self._deleting:
            return None
        if digest in self._blobs:
            self._lease(repository, digest, lease)
        return found

    async def remove_blob(self, repository: Repository, digest: Digest) -> bool | None:
        """Unlink a blob and queue it for review. None: not linked. False: a manifest here needs it."""
        if digest not in self._links.get(repository, {}):
            return None
        if self._needed(repository, digest):
            return False
        self._unlink(repository, digest)
        self._review((digest,))
        return True

    # ── manifests ───────────────────────────────────────────────────────────────────────────────────

    async def put_manifest(self, repository: Repository, pushed: Pushed, *, now: datetime) -> Accepted:
        """Check the children, then write manifest, references, links and tags."""
        own, known, tags = pushed.descriptor, self._links.get(repository, {}), self._tags.get(repository, {})
        gone = () if self._ownable(own.digest, pushed.place) else (own.digest,)
        missing = [
            each for each in dict.fromkeys(pushed.required) if each not in known or each in self._deleting
        ]
        fixed = sorted(pushed.immutable.intersection(pushed.tags, tags))
        accepted = Accepted((*gone, *missing), tuple(t for t in fixed if tags[t].digest != own.digest))
        if accepted.missing or accepted.conflicts:
            return accepted
        typed = [replace(each, size=0) for each in pushed.manifest.children if each.digest in known]
        self._own(own.digest, own.size, pushed.place)
        await self.link(repository, [own, *typed])
        self._manifests.setdefault(repository, {})[own.digest] = pushed.manifest
        for tag in pushed.tags:
            await self.put_tag(repository, tag, TagRow(own.digest, own.media_type, own.size, now))
        self._touch(repository)
        return accepted

    async def remove_manifest(self, repository: Repository, digest: Digest) -> Sequence[str] | None:
        """Remove a manifest with all its tags, and queue it and its children."""
        manifest = self._manifests.get(repository, {}).pop(digest, None)
        if manifest is None:
            return None
        tags = sorted(name for name, row in self._tags.get(repository, {}).items() if row.digest == digest)
        for tag in tags:
            await self.remove_tag(repository, tag)
        links = self._links[repository]
        if all(links[parent].media_type in INDEX_TYPES for parent in self._parents(repository, digest)):
            self._unlink(repository, digest)
        self._review((digest, *(child.digest for child in manifest.children)))
        self._touch(repository)
        return tags

    async def untag(self, repository: Repository, tag: str) -> Digest | None:
        """Remove a tag; gives what it pointed to."""
        row = await self.tag(repository, tag)
        if row is None:
            return None
        await self.remove_tag(repository, tag)
        self._touch(repository)
        return row.digest

    async def tags_of(self, repository: Repository, digest: Digest) -> Sequence[str]:
        """Give the tags that point to a manifest."""
        tags = self._tags.get(repository, {}).items()
        return sorted(tag for tag, row in tags if row.digest == digest)

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None, n: int, last: str = ""
    ) -> Sequence[Descriptor]:
        """Give up to ``n`` manifests with this subject, by digest (as text) after ``last``."""
        found = [
            replace(
                self._links[repository][digest],
                annotations=manifest.annotations,
                artifact_type=artifact_type_of(manifest),
            )
            for digest, manifest in self._manifests.get(repository, {}).items()
            if manifest.subject is not None and manifest.subject.digest == subject and str(digest) > last
        ]
        wanted = [each for each in found if artifact_type in (None, each.artifact_type)]
        return sorted(wanted, key=lambda each: str(each.digest))[:n]

    async def drop_repository(self, repository: Repository) -> int:
        """Remove all of a repository but its uploads, and queue what it reached."""
        self._tags.pop(repository, None)
        self._manifests.pop(repository, None)
        reached = list(self._links.get(repository, ()))
        for digest in reached:
            self._unlink(repository, digest)
        self._links.pop(repository, None)
        self._review(reached)
        if reached:
            self._touch(repository)
        return len(reached)

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────

    async def changes(self, registry: str, n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        """Give up to ``n`` repositories by (time of the last change, path), those after ``after``."""
        known = sorted((at, each.path) for each, at in self._changed.items() if each.registry == registry)
        return [Changed(Repository(registry, path), at) for at, path in known if (at, path) > after][:n]

    async def manifests(self, repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        """Give up to ``n`` manifests by digest (as text) after ``last``."""
        links = self._links.get(repository, {})
        known = sorted(self._manifests.get(repository, ()), key=str)
        return [links[each] for each in known if str(each) > last][:n]

    async def tagged(
        self, repository: Repository, n: int, last: str = ""
    ) -> Sequence[tuple[str, Descriptor]]:
        """Give up to ``n`` tags after ``last``, in ASCII order, with what each points to."""
        known = self._tags.get(repository, {})
        return [(tag, known[tag].target) for tag in await self.tags(repository, n, last)]

    # ── uploads ─────────────────────────────────────────────────────────────────────────────────────

    async def begin_upload(self, row: UploadRow) -> None:
        """Record a new session."""
        self._uploads[row.session] = row

    async def upload(self, session: str) -> UploadRow | None:
        """Look a session up."""
        return self._uploads.get(session)

    async def extend_upload(self, session: str, expires: datetime) -> None:
        """It goes on: it ends later."""
        if session in self._uploads:
            self._uploads[session] = replace(self._uploads[session], expires=expires)

    async def end_upload(self, session: str) -> bool:
        """Forget a session; False where it was not there."""
        return self._uploads.pop(session, None) is not None

    async def expired_uploads(self, now: datetime, n: int) -> Sequence[UploadRow]:
        """Give up to ``n`` sessions whose time is over, the oldest first."""
        over = [row for row in self._uploads.values() if row.expires <= now]
        return sorted(over, key=lambda row: (row.expires, row.session))[:n]

    # ── garbage ─────────────────────────────────────────────────────────────────────────────────────

    async def collects(self) -> bool:
        """Nobody else does."""
        return True

    async def due(self, now: datetime, n: int) -> Sequence[Digest]:
        """Give up to ``n`` digests to be reviewed now, the longest overdue first."""
        over = [(when, str(digest), digest) for digest, when in self._queue.items() if when <= now]
        return [digest for _, _, digest in sorted(over)[:n]]

    async def claim(self, digest: Digest, now: datetime) -> Placed | None:
        """Review one: drop links that nothing needs; say if its bytes may go."""
        size = self._blobs.get(digest)
        if size is None:
            return None
        alive, leases = False, []
        for repository in [each for each, links in self._links.items() if digest in links]:
            until = self._leases.get((repository, digest), now)
            if self._needed(repository, digest):
                alive = True
            elif until > now:
                alive = True
                leases.append(until)
            elif repository.registry == HOSTED:
                self._unlink(repository, digest)
        if leases:
            self._queue[digest] = min(leases)
            self._retries[digest] += 1
        else:
            self._queue.pop(digest, None)
            self._retries.pop(digest, None)
        if alive:
            return None
        self._deleting[digest] = self._blobs.pop(digest)
        return self._placed(digest, size)

    async def reviewed(self, digest: Digest, now: datetime) -> int | None:
        """Tell what ``claim`` would give."""
        alive = any(
            self._needed(repository, digest) or self._leases.get((repository, digest), now) > now
            for repository, links in self._links.items()
            if digest in links
        )
        return None if alive else self._blobs.get(digest)

    async def collected(self, digest: Digest, key: str = "") -> None:
        """Its bytes at this place are gone: drop the row, if it is still that which was claimed."""
        if digest in self._deleting and self._places.get(digest, "") == key:
            del self._deleting[digest]
            self._places.pop(digest, None)

    async def owned(self, n: int, last: str = "") -> Sequence[Digest]:
        """Give up to ``n`` owned digests after ``last`` (as text), in order."""
        return [each for each in sorted(self._blobs, key=str) if str(each) > last][:n]

    async def deleting(self) -> Sequence[Placed]:
        """What is between ``claim`` and ``collected``."""
        return [self._placed(each, self._deleting[each]) for each in sorted(self._deleting, key=str)]

    async def garbage(self, now: datetime) -> GarbageStatistics:
        """Measure the queue."""
        overdue = sum(when <= now for when in self._queue.values())
        return GarbageStatistics(len(self._queue), overdue, self._retries.total())

    # ── places ──────────────────────────────────────────────────────────────────────────────────────

    async def place(self, digest: Digest) -> str | None:
        """Give the place of a blob that is owned; "": none; None: not owned, or being deleted."""
        return self._places.get(digest, "") if digest in self._blobs else None

    async def places(self, n: int, last: str = "") -> Sequence[Placed]:
        """Give up to ``n`` owned blobs after the digest ``last`` (as text), in order."""
        return [self._placed(each, self._blobs[each]) for each in await self.owned(n, last)]

    async def relocate(self, digest: Digest, place: Place) -> bool:
        """Give a new place to an owned blob that has none."""
        if await self.place(digest) != "" or place.key not in self._intents:
            return False
        self._own(digest, self._blobs[digest], place)
        return True

    async def intend(self, key: str, now: datetime) -> None:
        """Note a new key, before anything is put under it."""
        self._intents[key] = now

    async def intents(self, before: datetime, n: int) -> Sequence[str]:
        """Give up to ``n`` keys that were noted before, the oldest first."""
        old = sorted((since, key) for key, since in self._intents.items() if since <= before)
        return [key for _, key in old[:n]]

    async def doomed(self, keys: Sequence[str], before: datetime) -> Sequence[str]:
        """Take the notes made until ``before`` away; gives those that can't be needed any more."""
        for key in keys:
            if key in self._intents and self._intents[key] <= before:
                del self._intents[key]
        used = {*self._intents, *self._places.values()}
        return [key for key in sorted(keys) if key not in used]

    async def any_placed(self) -> bool:
        """Whether any blob lies in shared content, owned or being deleted."""
        return bool(self._places)

    async def content_owner(self) -> str:
        """Give this database's name as the owner of its shared content."""
        return self._owner

    # ── what the verbs share ────────────────────────────────────────────────────────────────────────

    def _touch(self, repository: Repository) -> None:
        newest = max(self._changed.values(), default=0)
        clock = (datetime.now(UTC) - _NOW) // timedelta(microseconds=1)
        self._changed[repository] = max(clock, newest + 1)

    def _placed(self, digest: Digest, size: int) -> Placed:
        return Placed(digest, size, self._places.get(digest, ""))

    def _ownable(self, digest: Digest, place: Place | None) -> bool:
        if place is None:
            return digest not in self._deleting
        if place.new:
            return place.key in self._intents
        return digest in self._blobs and self._places.get(digest) == place.key

    def _own(self, digest: Digest, size: int, place: Place | None) -> None:
        if place is not None and place.new and not (digest in self._blobs and digest in self._places):
            self._deleting.pop(digest, None)
            self._places[digest] = place.key
            del self._intents[place.key]
        self._blobs.setdefault(digest, size)

    def _lease(self, repository: Repository, digest: Digest, until: datetime) -> None:
        key = (repository, digest)
        self._leases[key] = max(until, self._leases.get(key, until))

    def _unlink(self, repository: Repository, digest: Digest) -> None:
        del self._links[repository][digest]
        self._leases.pop((repository, digest), None)

    def _review(self, digests: Iterable[Digest], after: datetime = _NOW) -> None:
        for digest in digests:
            if digest in self._blobs:
                self._queue[digest] = min(after, self._queue.get(digest, after))

    def _parents(self, repository: Repository, digest: Digest) -> list[Digest]:
        manifests = self._manifests.get(repository, {}).items()
        return [parent for parent, one in manifests if digest in (child.digest for child in one.children)]

    def _needed(self, repository: Repository, digest: Digest) -> bool:
        return (
            digest in self._manifests.get(repository, {})
            or any(row.digest == digest for row in self._tags.get(repository, {}).values())
            or bool(self._parents(repository, digest))
        )
