"""Tags of upstreams: whom to believe, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from p2p.core.oci.descriptor import Descriptor, validate_media_type
from p2p.core.oci.error import RegistryError
from p2p.discovery.api import KnownReference
from p2p.errors import OriginError, OriginLimitedError, OriginStatusError, OriginUnreachableError
from p2p.metadata.api import GENERIC, TagRow
from p2p.registry.flights import Flights
from p2p.registry.tag_policy import TagPolicies
from p2p.registry.upstreams import OWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.config import TagSettings
    from p2p.core.oci.reference import Repository
    from p2p.discovery.api import References
    from p2p.metadata.api import Metadata
    from p2p.registry.api import OriginLookup

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The manifest that a tag points to; ``stale`` when its origin could not be asked."""

    target: Descriptor
    stale: bool = False


class TagResolver:
    """The policy of ``TagSettings``.

    A tag confirmed within ``max_age`` is fresh, whichever node of the cluster the origin confirmed it to.
    Otherwise one HEAD is sent to the origin, by one node, shared by all who ask for the same tag meanwhile.
    Only when the origin can't answer (no connection, 5xx, 429) is a stale tag given: this node's own, else
    the cluster's. A refusal or a 404 is the answer, always. Of ``private`` repositories the cluster hears
    nothing, and is asked for nothing.
    """

    def __init__(
        self,
        *,
        metadata: Metadata,
        origins: OriginLookup,
        references: References,
        settings: TagSettings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        private: Callable[[Repository], bool] = lambda _: False,
    ) -> None:
        self._metadata = metadata
        self._origins = origins
        self._references = references
        self._policies = TagPolicies(settings)
        self._now = now
        self._private = private
        self._flights: Flights[Resolved] = Flights()

    async def resolve(self, repository: Repository, tag: str) -> Resolved:
        """Give the tag's manifest. Raises OriginError, or RegistryError MANIFEST_UNKNOWN for hosted ones."""
        row = await self._metadata.tag(repository, tag)
        if repository.registry in OWN:
            if row is None:
                raise RegistryError(
                    "MANIFEST_UNKNOWN", f"hosted repository {repository.path} has no tag {tag}"
                )
            return Resolved(row.target)
        if row is not None and self._age(row) < self._policies.of(repository).max_age:
            return Resolved(row.target)
        return await self._flights.ask((repository, tag), lambda: self._ask(repository, tag))

    async def _ask(self, repository: Repository, tag: str) -> Resolved:
        policy = self._policies.of(repository)
        shared = policy.from_peers and not self._private(repository)
        if shared:
            known = await self._references.ask_first(str(repository), tag, policy.max_age)
            if known is not None:
                target = described(known)
                await self._keep(repository, tag, target, age=known.age)
                return Resolved(target)
        try:
            target = await self._origins.find(repository.registry).head(repository.path, tag)
        except BaseException as error:
            if shared:
                # Others may wait for the answer; also where this question is given up.
                self._references.unseen(str(repository), tag)
            if not isinstance(error, OriginError) or not unavailable(error):
                raise
            return Resolved(await self._stale(repository, tag, error), stale=True)
        if not self._private(repository):
            self._references.seen(
                str(repository), tag, KnownReference(target.digest, target.media_type, target.size, age=0.0)
            )
        elif shared:
            self._references.unseen(str(repository), tag)  # as it turns out, it is nobody else's business
        await self._keep(repository, tag, target, age=0.0)
        return Resolved(target)

    async def _stale(self, repository: Repository, tag: str, error: OriginError) -> Descriptor:
        policy = self._policies.of(repository)
        limit = policy.stale_if_error
        row = await self._metadata.tag(repository, tag)
        if row is not None and self._age(row) <= limit:
            log.warning("stale tag served", repository=str(repository), tag=tag, cause=str(error))
            return row.target
        if limit > 0 and policy.from_peers and not self._private(repository):
            known = await self._references.find_reference(str(repository), tag)
            if known is not None and known.age <= limit:
                log.warning("tag taken from peers", repository=str(repository), tag=tag, cause=str(error))
                target = described(known)
                await self._keep(repository, tag, target, age=known.age)
                return target
        raise error

    async def _keep(self, repository: Repository, tag: str, target: Descriptor, *, age: float) -> None:
        confirmed = self._now() - timedelta(seconds=age)
        row = TagRow(target.digest, target.media_type, target.size, confirmed)
        await self._metadata.put_tag(repository, tag, row)

    def _age(self, row: TagRow) -> float:
        # A clock that was set back must not make a tag fresh for ever.
        return abs((self._now() - row.confirmed_at).total_seconds())


def unavailable(error: OriginError) -> bool:
    """Whether the origin could not answer, as opposed to an answer that we don't like."""
    if isinstance(error, OriginStatusError):
        return error.status >= 500 or error.status == 429
    return isinstance(error, OriginUnreachableError | OriginLimitedError)


def described(known: KnownReference) -> Descriptor:
    """Give what peers told of a manifest; a media type that is none counts as not told."""
    try:
        media_type = validate_media_type(known.media_type)
    except RegistryError:
        media_type = GENERIC
    return Descriptor(media_type=media_type, digest=known.digest, size=known.size)
