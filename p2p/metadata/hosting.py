"""Metadata of hosted repositories: what was pushed, what refers to what, and what may go.

Every verb is one transaction, so that no crash and no other front end can come between its steps. No
network and no blob I/O happens inside: the bytes of a blob are durable before its row is written, and gone
only after its row says ``deleting``. The classic loss, a manifest accepted while its blobs are being
collected, can't happen: ``put_manifest`` and ``claim`` read and write the same rows.

A digest is *reached* by a repository through its link (see ``metadata.api``): that is what a push and a
mount make, and what a delete takes away. A linked blob that no manifest of the repository refers to, and on
which no lease is, goes with the next review.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.manifest import Manifest
    from p2p.core.oci.reference import Repository

HOSTED: Final = "hosted.invalid"
"""The registry of repositories that are at home here: only their links does a review take away."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a blob lie in the content that front ends share: the object's key.

    ``new``: put there just now, under a key that ``PutRecords.intend`` was told of. Else it is what a row
    said a moment ago, and must say still.
    """

    key: str
    new: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """A blob that is owned, or that is being deleted: its size, and its place ("": in no shared content)."""

    digest: Digest
    size: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest to be accepted: its descriptor (as served), its reading, its tags, and its bytes' place.

    ``required`` are the digests that must be linked to the repository already (the children, less foreign
    layers). ``immutable`` tags: one that exists with another digest refuses all.
    """

    descriptor: Descriptor
    manifest: Manifest
    tags: tuple[str, ...]
    required: tuple[Digest, ...]
    immutable: frozenset[str] = frozenset()
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a ``Pushed``. Nothing was written where ``missing`` or ``conflicts`` is not empty."""

    missing: tuple[Digest, ...] = ()
    """Required digests that the repository does not reach."""
    conflicts: tuple[str, ...] = ()
    """Immutable tags that point elsewhere."""


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload under way: only its repository may go on with it. ``expires`` is an aware time."""

    session: str
    repository: Repository
    expires: datetime


@dataclass(frozen=True, slots=True)
class Changed:
    """A repository whose manifests or tags changed, last at ``at``: microseconds since 1970.

    By the clock of the database, and greater than that of every change that it had seen: two changes that
    run at once on different front ends may come to be seen in another order, a moment apart.
    """

    repository: Repository
    at: int


class BlobRecords(Protocol):
    """Blobs owned here, by repository."""

    async def add_blob(
        self, repository: Repository, blob: Descriptor, *, lease: datetime, place: Place | None = None
    ) -> bool:
        """Record a blob whose bytes are durable, link it, and keep it until ``lease`` at least.

        False where a collection is deleting these very bytes: nothing was written; put them there anew
        and try again. With a new place a row that is being deleted is taken over, and one that has a place
        keeps it; False where the place is not as told: taken for an orphan, or not the row's any more.
        """
        ...

    async def mount(
        self, repository: Repository, digest: Digest, source: Repository | None, *, lease: datetime
    ) -> Descriptor | None:
        """Link a blob that ``source`` reaches (None: any hosted repository); None where none does."""
        ...

    async def hold(self, repository: Repository, digest: Digest, *, lease: datetime) -> Descriptor | None:
        """Describe a linked digest and, in the same transaction, extend its lease (an answer "exists")."""
        ...

    async def remove_blob(self, repository: Repository, digest: Digest) -> bool | None:
        """Unlink a blob and queue it for review. None: not linked. False: a manifest here refers to it."""
        ...


class ManifestRecords(Protocol):
    """Manifests, what they refer to, and their tags."""

    async def put_manifest(self, repository: Repository, pushed: Pushed, *, now: datetime) -> Accepted:
        """Check the children, then write manifest, references, links and tags."""
        ...

    async def remove_manifest(self, repository: Repository, digest: Digest) -> Sequence[str] | None:
        """Remove a manifest with all its tags, and queue it and its children. Gives the tags; None: unknown.

        A manifest that an index of the repository refers to may go: an index may be sparse.
        """
        ...

    async def untag(self, repository: Repository, tag: str) -> Digest | None:
        """Remove a tag; gives what it pointed to, None where there was none."""
        ...

    async def tags_of(self, repository: Repository, digest: Digest) -> Sequence[str]:
        """Give the tags that point to a manifest."""
        ...

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None, n: int, last: str = ""
    ) -> Sequence[Descriptor]:
        """Give up to ``n`` manifests with this subject, by digest (as text) after ``last``.

        Each with artifact type (the config's media type where it has none of its own) and annotations.
        """
        ...

    async def drop_repository(self, repository: Repository) -> int:
        """Remove all of a repository, and queue what it reached. Gives how many digests that were."""
        ...


class ChangeRecords(Protocol):
    """What changed in which repository, for those that keep an index of it.

    ``shared``: whether others write to the database, whose changes nobody here is told of.
    """

    shared: bool

    async def changes(self, registry: str, n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        """Give up to ``n`` repositories by (time of the last change, path), those after ``after``.

        Dropped ones too. What only proxied ones have is no change.
        """
        ...

    async def manifests(self, repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        """Give up to ``n`` manifests, tagged or not, by digest (as text) after ``last``: type and size."""
        ...

    async def tagged(
        self, repository: Repository, n: int, last: str = ""
    ) -> Sequence[tuple[str, Descriptor]]:
        """Give up to ``n`` tags after ``last``, in ASCII order, with what each points to."""
        ...


class UploadRecords(Protocol):
    """Uploads by session."""

    async def begin_upload(self, row: UploadRow) -> None:
        """Record a new session."""
        ...

    async def upload(self, session: str) -> UploadRow | None:
        """Look a session up."""
        ...

    async def extend_upload(self, session: str, expires: datetime) -> None:
        """It goes on: it ends later."""
        ...

    async def end_upload(self, session: str) -> bool:
        """Forget a session; False where it was not there (somebody else has ended it)."""
        ...

    async def expired_uploads(self, now: datetime, n: int) -> Sequence[UploadRow]:
        """Give up to ``n`` sessions whose time is over, the oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class GarbageStatistics:
    """Of the review queue: entries, those whose time has come, and reviews that were put off."""

    queued: int
    overdue: int
    retries: int


class GarbageRecords(Protocol):
    """The review queue: digests that may have become unreachable."""

    async def collects(self) -> bool:
        """Whether this front end is the one that reviews and deletes; asked before each round.

        One of those that share a database is, until it is closed or gone. So what ``deleting`` gives is
        nobody's work in progress: two that delete the same bytes could hit those of a later push.
        """
        ...

    async def due(self, now: datetime, n: int) -> Sequence[Digest]:
        """Give up to ``n`` digests to be reviewed now, the longest overdue first."""
        ...

    async def claim(self, digest: Digest, now: datetime) -> Placed | None:
        """Review one, in one transaction: drop links that nothing needs; mark ``deleting`` if none is left.

        Gives what may now be deleted, and only where it lies now; None where it stays (it left the queue
        then, or its review was put off to when its last lease ends).
        """
        ...

    async def reviewed(self, digest: Digest, now: datetime) -> int | None:
        """Tell the size of what ``claim`` would give, and change nothing."""
        ...

    async def collected(self, digest: Digest, key: str = "") -> None:
        """Its bytes at this place are gone: drop the row, if it is still that which was claimed."""
        ...

    async def owned(self, n: int, last: str = "") -> Sequence[Digest]:
        """Give up to ``n`` owned digests after ``last`` (as text), in order, for the reconciliation."""
        ...

    async def deleting(self) -> Sequence[Placed]:
        """What a crash left between ``claim`` and ``collected``."""
        ...

    async def garbage(self, now: datetime) -> GarbageStatistics:
        """Measure the queue."""
        ...


class PlaceRecords(Protocol):
    """Where owned blobs lie in the content that front ends share."""

    async def place(self, digest: Digest) -> str | None:
        """Give the place of a blob that is owned; "": none; None: not owned, or being deleted."""
        ...

    async def places(self, n: int, last: str = "") -> Sequence[Placed]:
        """Give up to ``n`` owned blobs after the digest ``last`` (as text), in order."""
        ...

    async def relocate(self, digest: Digest, place: Place) -> bool:
        """Give a new place to an owned blob that has none. False: it has, or is gone, or is no new place."""
        ...


class PutRecords(Protocol):
    """What is put into shared content, noted before: so that an orphan is told from what is on its way.

    A put counts when its key becomes a row's place, in the transaction that takes its note away. Whoever
    takes the note away first decides: no clock and no pause of a process can make both happen.
    """

    async def intend(self, key: str, now: datetime) -> None:
        """Note a new key, before anything is put under it."""
        ...

    async def intents(self, before: datetime, n: int) -> Sequence[str]:
        """Give up to ``n`` keys that were noted before, and are no row's place yet, the oldest first."""
        ...

    async def doomed(self, keys: Sequence[str], before: datetime) -> Sequence[str]:
        """Take the notes made until ``before`` of these keys away; gives those that can't be needed any more.

        Such a key is no row's place, and never will be.
        """
        ...

    async def any_placed(self) -> bool:
        """Whether any blob lies in shared content, owned or being deleted."""
        ...

    async def content_owner(self) -> str:
        """Give this database's name as the owner of its shared content; made up when it is first asked."""
        ...


class Hosting(
    BlobRecords,
    ManifestRecords,
    ChangeRecords,
    UploadRecords,
    GarbageRecords,
    PlaceRecords,
    PutRecords,
    Protocol,
):
    """All of it. Raises LocalError when the database fails."""


def artifact_type_of(manifest: Manifest) -> str:
    """Give what referrers are filtered by: its own artifact type, else its config's media type."""
    config = manifest.config
    return manifest.artifact_type or ("" if config is None else config.media_type)
