"""A storage driver and metadata that keep nothing: for nodes that only pass content on, and for trials."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from p2p.metadata.memory_hosting import MemoryHosting
from p2p.store.memory import MemoryFiles, MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.node.plugins import PluginContext


@asynccontextmanager
async def open_store(context: PluginContext) -> AsyncIterator[MemoryStore]:
    """Make the store: the entry point ``memory`` of ``remora.drivers``; option ``bytes``."""
    capacity = int(context.option("bytes") or 1 << 30)
    store = MemoryStore(context.store, files=MemoryFiles(capacity), withdraw=context.withdraw)
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def open_metadata(context: PluginContext) -> AsyncIterator[MemoryHosting]:
    """Make the metadata: the entry point ``memory`` of ``remora.metadata``."""
    del context
    yield MemoryHosting()
