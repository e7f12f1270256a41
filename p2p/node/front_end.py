"""The registry's part of a node: who may come in, what is hosted, who is told, what is added."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from p2p.errors import ConfigError
from p2p.net.tls import TlsFiles
from p2p.node.exposure import check_registry_address
from p2p.node.plugins import open_authenticators
from p2p.notifications.service import Notifications, open_notifications
from p2p.registry.app import Registry
from p2p.registry.auth.factory import is_configured, open_guard
from p2p.registry.catalog import HostedCatalog
from p2p.registry.extension import ExtensionContext, Extensions, open_extensions
from p2p.registry.hosting import HostedRepositories
from p2p.registry.sharing import Sharing
from p2p.registry.through import PushThrough

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from random import Random

    import trio

    from p2p.config import NodeSettings, UpstreamSettings
    from p2p.content.api import SharedContent
    from p2p.core.wire.common import Holding
    from p2p.discovery.api import References
    from p2p.node.plugins import Database, Driver
    from p2p.origin.api import Destination
    from p2p.registry.api import OriginLookup
    from p2p.registry.auth.guard import Guard
    from p2p.registry.hosted import Hosted
    from p2p.registry.proof import Privacy
    from p2p.transfer.api import Transfer


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """Made by ``open_front_end``. ``tls`` is None where the port speaks plain HTTP."""

    registry: Registry
    hosting: HostedRepositories
    notifications: Notifications
    extensions: Extensions
    tls: TlsFiles | None

    async def start(self, nursery: trio.Nursery) -> None:
        """Run all of it in the nursery."""
        for part in (self.notifications, self.hosting, self.extensions):
            await nursery.start(part.run)


def check_front_end(settings: NodeSettings) -> None:
    """Refuse what would leave the registry open by mistake: ConfigError."""
    tls = settings.tls
    if bool(tls.cert_file) != bool(tls.key_file):
        missing = "tls.key_file" if tls.cert_file else "tls.cert_file"
        raise ConfigError(
            missing, "is missing: a certificate and its key go together", "Set both, or neither"
        )
    check_registry_address(
        settings.registry.listen,
        authenticated=is_configured(settings.auth, settings.auth.authenticators),
        encrypted=bool(settings.tls.cert_file),
        insecure=settings.registry.insecure,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndParts:
    """What a front end stands on."""

    upstreams: Mapping[str, UpstreamSettings]
    transfer: Transfer
    store: Driver
    metadata: Database
    origins: OriginLookup
    references: References
    destination: Callable[[str], Destination]
    """The upstream of this name, to be written to."""
    layouts: Hosted
    announce: Callable[[Holding], None]
    node: str
    rng: Random
    privacy: Privacy
    taken: Callable[[Holding], None]
    """Told of what was pushed to a repository of this node; ``announce`` of what went to an upstream."""
    content: SharedContent | None = None
    """Where all front ends keep what is pushed; None: each in its own store."""


@asynccontextmanager
async def open_front_end(settings: NodeSettings, parts: FrontEndParts) -> AsyncIterator[FrontEnd]:
    """Open keys, queues and extensions, and make the registry. ConfigError, LocalError."""
    state = Path(settings.state)
    async with AsyncExitStack() as stack:
        guard: Guard | None = None
        more = await stack.enter_async_context(
            open_authenticators(settings.auth.authenticators, state=state, node=parts.node)
        )
        if is_configured(settings.auth, more) or settings.auth.rules:
            guard = await stack.enter_async_context(open_guard(settings.auth, more))
        tls = None
        if settings.tls.cert_file or settings.tls.key_file:
            tls = TlsFiles(Path(settings.tls.cert_file), Path(settings.tls.key_file))
        sharing: Sharing | None = None
        if parts.content is not None:
            grace = settings.hosting.unreferenced_grace
            sharing = Sharing(parts.content, records=parts.metadata, store=parts.store, grace=grace)
        shared = parts.metadata.shared
        catalog = HostedCatalog(
            metadata=parts.metadata,
            store=parts.store,
            transfer=parts.transfer if shared or sharing is not None else None,
        )
        context = ExtensionContext(state=state, node=parts.node, catalog=catalog, shared=shared)
        # Nothing is hosted where nothing can be pushed: no index of it either.
        without = settings.extensions.without if settings.hosting.repositories else ("search",)
        extensions = await stack.enter_async_context(open_extensions(context, without=without))
        notifications = await stack.enter_async_context(
            open_notifications(
                settings.notifications,
                state=state,
                node=parts.node,
                rng=parts.rng,
                consumers=extensions.consumers,
            )
        )
        hosting = HostedRepositories(
            settings=settings.hosting,
            manifest_bytes=settings.registry.manifest_bytes,
            hosting=parts.metadata,
            uploads=parts.store.uploads,
            content=parts.store,
            announce=parts.taken,
            notifier=notifications.notifier,
            guard=guard,
            kept=parts.layouts.blobs.__contains__,
            sharing=sharing,
            through=PushThrough(
                store=parts.store,
                metadata=parts.metadata,
                destination=parts.destination,
                announce=parts.announce,
                proofs=parts.privacy.proofs,
            ),
        )
        registry = Registry(
            settings=settings.registry,
            tags=settings.tags,
            upstreams=parts.upstreams,
            transfer=parts.transfer,
            store=parts.store,
            metadata=parts.metadata,
            origins=parts.origins,
            references=parts.references,
            hosted=parts.layouts,
            hosting=hosting,
            guard=guard,
            extensions=extensions,
            privacy=parts.privacy,
        )
        yield FrontEnd(registry, hosting, notifications, extensions, tls)
