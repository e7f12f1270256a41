"""What of a node's content is private: found out, remembered, and kept from peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.wire.common import Holding
from p2p.registry.proof import Privacy
from p2p.registry.visibility import Visibility
from p2p.transfer.confined import Confined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from p2p.config import PrivateSettings
    from p2p.core.oci.reference import Repository
    from p2p.metadata.private import PrivateRecords
    from p2p.origin.factory import Origins
    from p2p.store.api import Store


class PrivateContent:
    """The parts that know, joined. ``announce`` and ``changed`` (of what is held) are set by who has them."""

    def __init__(
        self, settings: PrivateSettings, records: PrivateRecords, origins: Origins, store: Store
    ) -> None:
        self._records = records
        self._origins = origins
        self._store = store
        self.visibility = Visibility(records=records, gate=origins.find, max_age=settings.max_age)
        self.visibility.turned = self._turned
        self.confined = Confined(
            records,
            private=self.visibility.is_private,
            held=lambda digest: store.find(digest) is not None,
            changed=self._moved,
        )
        self.front_end = Privacy(
            settings=settings,
            visibility=self.visibility,
            proofs=self.confined,
            gate=origins.find,
            likely=origins.may_hold_credentials,
        )
        self.announce: Callable[[Holding], None] = lambda _: None
        self.changed: Callable[[Digest], None] = lambda _: None

    async def load(self) -> None:
        """Read what is known; before anything is announced. LocalError.

        What came before anybody asked who may have it (an earlier release wrote it, or there were no
        credentials then) is confined where there are credentials now, until somebody asks for it.
        """
        for registry in await self._records.unjudged():
            if await self._origins.holds_credentials(registry):
                await self._records.distrust(registry)
        await self.confined.load()

    def taken(self, holding: Holding) -> None:
        """Take note of what was pushed here by somebody who had its bytes: it is this node's to give."""
        digest = Digest.parse(holding.digest)
        self.confined.hosted(digest)
        self.announce(holding)
        self.changed(digest)

    def told(self, holding: Holding) -> None:
        """Tell peers of what is held, or no longer, as far as they may know."""
        self.announce(holding)
        self.changed(Digest.parse(holding.digest))

    def explain(self, digest: Digest) -> Mapping[str, object]:
        """Tell what keeps a digest from peers, if anything does."""
        if digest not in self.confined:
            return {"private": False}
        return {
            "private": True,
            "because": "private: origin only. Only private repositories were proven to reach it",
            "private_repositories": [str(each) for each in self.confined.repositories(digest)],
        }

    async def _turned(self, repository: Repository, private: bool) -> None:
        await self.confined.turned(repository, private=private)

    def _moved(self, digest: Digest) -> None:
        """Withdraw what was confined though it was announced; announce what no longer is."""
        stored = self._store.find(digest)
        if digest in self.confined:
            self.announce(Holding(str(digest), 0, 0, False))
        elif stored is not None:
            self.announce(Holding(str(digest), stored.size, Layout(stored.size).count, True))
        self.changed(digest)
