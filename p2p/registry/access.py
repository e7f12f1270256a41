"""Proof that a repository reaches a digest: nothing is served only because its bytes are here.

Sharing a cache between repositories without this lets whoever may read one repository read the content
of all (CVE-2024-39897).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import MANIFEST_TYPES
from p2p.discovery.api import KnownReference
from p2p.errors import OriginError, OriginProtocolError
from p2p.metadata.api import GENERIC
from p2p.origin.api import Kind
from p2p.registry.flights import Flights
from p2p.registry.tag_policy import TagPolicies
from p2p.registry.tags import described, unavailable
from p2p.registry.upstreams import OWN
from p2p.transfer.confined import Unconfined

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.config import TagSettings
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.discovery.api import References
    from p2p.metadata.api import Metadata
    from p2p.registry.api import OriginLookup, Proofs


class Access:
    """Answers from metadata, else by one HEAD at the origin, shared by all who ask meanwhile."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        origins: OriginLookup,
        references: References,
        settings: TagSettings,
        proofs: Proofs | None = None,
        private: Callable[[Repository], bool] = lambda _: False,
    ) -> None:
        self._metadata = metadata
        self._origins = origins
        self._references = references
        self._proofs = Unconfined() if proofs is None else proofs
        self._private = private
        self._policies = TagPolicies(settings)
        self._flights: Flights[Descriptor] = Flights()

    async def prove(self, repository: Repository, digest: Digest, kind: Kind) -> Descriptor:
        """Give media type and size (0: not known) of a digest that the repository reaches.

        Raises RegistryError (BLOB_UNKNOWN, MANIFEST_UNKNOWN) or OriginError where it does not, or where
        that can't be told. What is linked as something else than a manifest is proven anew before it is
        given as one: a layer may hold what looks like one (CVE-2021-41190). So is what came from another,
        private repository: that a manifest of this one names it is nobody's permission.
        """
        own = repository.registry in OWN
        known = await self._metadata.describe(repository, digest)
        fits = known is not None and (kind is Kind.BLOB or known.media_type in MANIFEST_TYPES)
        if known is not None and fits and (own or self._proofs.reaches(repository, digest)):
            return known
        if own:
            code = "BLOB_UNKNOWN" if kind is Kind.BLOB else "MANIFEST_UNKNOWN"
            raise RegistryError(code, f"hosted repository {repository.path} has no {digest}")
        return await self._flights.ask(
            (repository, digest, kind), lambda: self._ask(repository, digest, kind)
        )

    async def _ask(self, repository: Repository, digest: Digest, kind: Kind) -> Descriptor:
        origin = self._origins.find(repository.registry)
        try:
            if kind is Kind.BLOB:
                found = await origin.head_blob(repository.path, digest)
                # Blobs have no media type of their own: what the origin says of it is about the transport.
                found = Descriptor(media_type=GENERIC, digest=found.digest, size=found.size)
            else:
                found = await origin.head(repository.path, str(digest))
        except OriginError as error:
            if kind is Kind.BLOB or digest in self._proofs or not unavailable(error):
                raise
            found = await self._from_peers(repository, digest, error)
        else:
            self._tell(repository, found, kind)
            if found.digest == digest:
                await self._proofs.proved(repository, digest)
        if found.digest != digest:
            raise OriginProtocolError(
                repository.registry,
                f"asked for {digest} of {repository.path} it answered with {found.digest}",
            )
        await self._metadata.link(repository, (found,))
        return found

    def _tell(self, repository: Repository, found: Descriptor, kind: Kind) -> None:
        """Let other nodes give this manifest by digest when the origin is gone."""
        if kind is Kind.MANIFEST and not self._private(repository):
            known = KnownReference(found.digest, found.media_type, found.size, age=0.0)
            self._references.seen(str(repository), str(found.digest), known)

    async def _from_peers(self, repository: Repository, digest: Digest, error: OriginError) -> Descriptor:
        policy = self._policies.of(repository)
        limit = policy.stale_if_error
        if limit > 0 and policy.from_peers and not self._private(repository):
            known = await self._references.find_reference(str(repository), str(digest))
            if known is not None and known.age <= limit:
                return described(known)
        raise error
