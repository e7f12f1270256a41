"""Parts of a node that other distributions bring, besides sinks and front-end extensions.

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
from p2p.store.api import Store, Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from p2p.config import PluginSettings
    from p2p.core.oci.digest import Digest
    from p2p.discovery.api import ProviderSource
    from p2p.registry.auth.api import Authenticator

Part = TypeVar("Part")


class Driver(Store, Protocol):
    """What ``remora.drivers`` give: where content is kept."""

    @property
    def uploads(self) -> Uploads:
        """What is being pushed."""
        ...


class Database(Metadata, Hosting, Protocol):
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
                extensions.AUTHENTICATORS, one, PluginContext(state=state, node=node, options=one.options)
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
                extensions.PROVIDERS, one, PluginContext(state=state, node=node, options=one.options)
            )
            opened.append(await stack.enter_async_context(part))
        yield opened


@asynccontextmanager
async def open_driver(
    chosen: PluginSettings,
    settings: StoreSettings,
    *,
    state: Path,
    node: str,
    withdraw: Callable[[Digest], None] | None = None,
) -> AsyncIterator[Driver]:
    """Open this one of ``remora.drivers``."""
    context = PluginContext(state=state, node=node, options=chosen.options, store=settings, withdraw=withdraw)
    part: AbstractAsyncContextManager[Driver] = _part(extensions.DRIVERS, chosen, context)
    async with part as driver:
        yield driver


@asynccontextmanager
async def open_database(chosen: PluginSettings, *, state: Path, node: str) -> AsyncIterator[Database]:
    """Open this one of ``remora.metadata``."""
    part: AbstractAsyncContextManager[Database] = _part(
        extensions.METADATA, chosen, PluginContext(state=state, node=node, options=chosen.options)
    )
    async with part as database:
        yield database


def _part(group: str, chosen: PluginSettings, context: PluginContext) -> AbstractAsyncContextManager[Part]:
    opener = extensions.load(group, chosen.name)
    if not callable(opener):
        raise ConfigError(f"{group} {chosen.name}", "its entry point is no function", "Tell its author")
    return cast("AbstractAsyncContextManager[Part]", opener(context))
