"""Parts of a node that other distributions may bring, besides sinks and front-end extensions.

An entry point is a function that takes a ``PluginContext`` and gives an async context manager of the part,
open while the node runs. It raises ConfigError for options that don't do.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from p2p import extensions
from p2p.config import StoreSettings
from p2p.errors import ConfigError
from p2p.metadata.api import Metadata
from p2p.metadata.hosting import Hosting
from p2p.metadata.private import PrivateRecords
from p2p.metadata.sql import open_metadata
from p2p.registry.api import OpenContent
from p2p.store.api import Store, Uploads
from p2p.store.disk import DiskStore
from p2p.store.scrubber import Scrubbed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from p2p.config import MetadataSettings, PluginSettings
    from p2p.core.oci.digest import Digest
    from p2p.discovery.api import ProviderSource
    from p2p.registry.auth.api import Authenticator
    from p2p.store.api import StoredBlob, StoreStatistics
    from p2p.store.verify import LinkHasher

Part = TypeVar("Part")


class Driver(Store, Scrubbed, OpenContent, Protocol):
    """What ``remora.drivers`` give: where content is kept, and its upkeep."""

    @property
    def uploads(self) -> Uploads:
        """What is being pushed."""
        ...

    def blobs(self) -> Sequence[StoredBlob]:
        """All complete blobs, least recently used first."""
        ...

    def statistics(self) -> StoreStatistics:
        """Count."""
        ...


class Database(Metadata, PrivateRecords, Hosting, Protocol):
    """What ``remora.metadata`` give: where repositories, tags and manifests are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginContext:
    """What every part gets: a directory for its files, the node's name, its options.

    For a driver also ``store``, and ``withdraw``, to be called before a blob that was announced goes.
    """

    state: Path
    node: str
    options: tuple[str, ...] = ()
    store: StoreSettings = field(default_factory=StoreSettings)
    withdraw: Callable[[Digest], None] | None = None

    def option(self, key: str) -> str:
        """Give the value of an option, "" where it has none."""
        for option in self.options:
            name, _, value = option.partition("=")
            if name == key:
                return value
        return ""


@asynccontextmanager
async def open_authenticators(
    chosen: Sequence[PluginSettings], *, state: Path, node: str
) -> AsyncIterator[Sequence[Authenticator]]:
    """Open these of ``remora.authenticators``, for ``open_guard``'s ``more``."""
    async with AsyncExitStack() as stack:
        opened: list[Authenticator] = []
        for one in chosen:
            part: AbstractAsyncContextManager[Authenticator] = _part(
                extensions.AUTHENTICATORS,
                one.name,
                PluginContext(state=state, node=node, options=one.options),
            )
            opened.append(await stack.enter_async_context(part))
        yield opened


@asynccontextmanager
async def open_sources(
    chosen: Sequence[PluginSettings], *, state: Path, node: str
) -> AsyncIterator[Sequence[ProviderSource]]:
    """Open these of ``remora.providers``; each is to be run with the node's static peers."""
    async with AsyncExitStack() as stack:
        opened: list[ProviderSource] = []
        for one in chosen:
            part: AbstractAsyncContextManager[ProviderSource] = _part(
                extensions.PROVIDERS, one.name, PluginContext(state=state, node=node, options=one.options)
            )
            opened.append(await stack.enter_async_context(part))
        yield opened


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    state: Path,
    node: str,
    hasher: LinkHasher | None = None,
    withdraw: Callable[[Digest], None] | None = None,
) -> AsyncIterator[Driver]:
    """Open the node's store: files in ``state``, or the driver that the settings name."""
    if not settings.driver:
        with await DiskStore.load(state, settings, hasher=hasher, withdraw=withdraw) as store:
            yield store
        return
    context = PluginContext(
        state=state, node=node, options=settings.options, store=settings, withdraw=withdraw
    )
    part: AbstractAsyncContextManager[Driver] = _part(extensions.DRIVERS, settings.driver, context)
    async with part as driver:
        yield driver


@asynccontextmanager
async def open_database(settings: MetadataSettings, *, state: Path, node: str) -> AsyncIterator[Database]:
    """Open the node's metadata: SQL, or what the settings name."""
    if not settings.kind:
        async with open_metadata(state, settings.url) as sql:
            yield sql
        return
    if settings.url:
        raise ConfigError("metadata.url", "is for SQL, and metadata.kind names another", "Set one of them")
    context = PluginContext(state=state, node=node, options=settings.options)
    part: AbstractAsyncContextManager[Database] = _part(extensions.METADATA, settings.kind, context)
    async with part as database:
        yield database


def _part(group: str, name: str, context: PluginContext) -> AbstractAsyncContextManager[Part]:
    opener = extensions.load(group, name)
    if not callable(opener):
        raise ConfigError(f"{group} {name}", "its entry point is no function", "Tell its author")
    return cast("AbstractAsyncContextManager[Part]", opener(context))
