"""What nodes tell each other of tags: asked when an origin can't answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import Repository
from p2p.core.wire.peer import FoundReference
from p2p.discovery.api import KnownReference
from p2p.registry.upstreams import OWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.core.wire.peer import FindReference
    from p2p.discovery.static import StaticPeers
    from p2p.metadata.api import TagRecords
    from p2p.transfer.links import Links


MORE: Final = 8
"""Known peers that are asked beside the linked and the configured ones, others for each tag."""


class PeerReferences:
    """Asks peers, and answers them. ``links`` gives the links, which are made after this.

    ``private`` tells whether a repository is, without asking its upstream: of such ones peers hear nothing.
    """

    def __init__(
        self,
        metadata: TagRecords,
        static: StaticPeers,
        links: Callable[[], Links],
        private: Callable[[Repository], Awaitable[bool]],
    ) -> None:
        self._private = private
        self._metadata = metadata
        self._static = static
        self._links = links

    async def ask(self, repository: str, reference: str) -> KnownReference | None:
        """Ask linked peers, the configured ones and some that are known what a tag pointed to last."""
        configured = self._static.configured()
        known = self._static.providers(f"{repository}:{reference}")  # the configured ones first
        asked = (*configured, *known[len(configured) :][:MORE])
        found = await self._links().find_reference(asked, repository, reference)
        if found is None:
            return None
        return KnownReference(Digest.parse(found.digest), found.media_type, found.size, found.age)

    async def answer(self, message: FindReference) -> FoundReference:
        """Tell a peer what a tag pointed to when this node saw it last; what is hosted here is not told."""
        try:
            repository = Repository.parse(message.repository)
        except RegistryError:
            return FoundReference(message.request)
        row = None if repository.registry in OWN else await self._metadata.tag(repository, message.reference)
        if row is None or await self._private(repository):
            return FoundReference(message.request)
        age = max(0.0, (datetime.now(UTC) - row.confirmed_at).total_seconds())
        target = row.target
        return FoundReference(message.request, str(target.digest), target.media_type, target.size, age)
