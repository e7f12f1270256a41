"""Shared content's part of a node: opening it, and where swarms get bytes from that no peer has."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from p2p.content.factory import open_content
from p2p.metadata.hosting import HOSTED
from p2p.registry.shared_origin import SharedOrigin

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container

    from p2p.config import HostingSettings
    from p2p.content.api import SharedContent
    from p2p.core.oci.reference import Repository
    from p2p.metadata.hosting import PlaceRecords
    from p2p.origin.api import Source
    from p2p.registry.api import OriginLookup


@asynccontextmanager
async def open_shared(settings: HostingSettings) -> AsyncGenerator[SharedContent | None]:
    """Open what ``hosting.content`` names; None where it names nothing."""
    if not settings.content:
        yield None
        return
    async with open_content(settings.content, settings.content_options) as content:
        yield content


class Sources:
    """Of upstreams' repositories their upstream; of hosted ones the shared content, if there is any."""

    def __init__(
        self,
        upstreams: Container[str],
        origins: OriginLookup,
        content: SharedContent | None,
        records: PlaceRecords,
    ) -> None:
        self._upstreams = upstreams
        self._origins = origins
        self._shared = None if content is None else SharedOrigin(content, records)

    def has(self, repository: Repository) -> bool:
        """Whether there is one for a repository."""
        if repository.registry == HOSTED:
            return self._shared is not None
        return repository.registry in self._upstreams

    def find(self, repository: Repository) -> Source:
        """Give the one of a repository that has one."""
        if repository.registry == HOSTED and self._shared is not None:
            return self._shared
        return self._origins.find(repository.registry)
