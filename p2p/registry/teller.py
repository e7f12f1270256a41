"""Tells notifications what clients did to hosted repositories."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from p2p.notifications.api import Happening

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.reference import Repository
    from p2p.net.message import Request
    from p2p.notifications.api import Notifier, What
    from p2p.registry.upstreams import Choice

MOST_AGENT = 256


class Teller:
    """Makes a happening of a request, and hands it on."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    async def tell(
        self,
        request: Request,
        what: What,
        choice: Choice,
        target: Descriptor | None,
        *,
        tags: tuple[str, ...] = (),
        source: Repository | None = None,
    ) -> None:
        """Note one happening."""
        agent = request.header(b"user-agent") or ""
        await self._notifier.tell(
            [
                Happening(
                    what,
                    choice.repository,
                    target,
                    datetime.now(UTC),
                    tags=tags,
                    source=source,
                    actor=request.principal,
                    client=request.peer,
                    user_agent=agent[:MOST_AGENT],
                )
            ]
        )
