"""Both stores behind one face, so that one suite runs on each."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from p2p.config import StoreSettings
from p2p.core.oci.digest import Digest
from p2p.core.swarm.chunks import Layout
from p2p.core.swarm.midstates import INITIAL, Midstates
from p2p.store.disk import DiskStore
from p2p.store.memory import MemoryStore
from p2p.store.verify import LinkHasher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from p2p.store.content import ContentStore

MIB = 1 << 20
HASHER = LinkHasher.load()
UNLINKED = LinkHasher.unavailable("switched off by the test")


@dataclass(frozen=True)
class Blob:
    """Content with its digest, layout and list. Small variety, so that it is quick to make."""

    data: bytes
    algorithm: str = "sha256"
    digest: Digest = field(init=False)
    layout: Layout = field(init=False)
    midstates: Midstates = field(init=False)

    def __post_init__(self) -> None:
        layout = Layout(len(self.data))
        states = []
        state = INITIAL[self.algorithm]
        for index in range(layout.last):
            state = HASHER.advance(self.algorithm, state, layout.offset(index), self.chunk(index, layout))
            states.append(state)
        raw = hashlib.new(self.algorithm, self.data).digest()
        object.__setattr__(self, "digest", Digest.from_bytes(self.algorithm, raw))
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "midstates", Midstates(self.algorithm, b"".join(states)))

    @property
    def size(self) -> int:
        return len(self.data)

    def chunk(self, index: int, layout: Layout | None = None) -> memoryview:
        return self.chunks(index, 1, layout)

    def chunks(self, first: int, count: int, layout: Layout | None = None) -> memoryview:
        layout = layout or self.layout
        return memoryview(self.data)[layout.offset(first) : layout.offset(first + count)]


def blob(size: int, seed: int = 0, algorithm: str = "sha256") -> Blob:
    row = hashlib.sha512(seed.to_bytes(8, "big")).digest() * 64
    marks = b"".join(i.to_bytes(8, "big") + row for i in range(size // len(row) + 1))
    return Blob(marks[:size], algorithm)


class World:
    """Makes stores of one kind in a directory of their own, and closes them."""

    def __init__(self, kind: str, root: Path) -> None:
        self.kind = kind
        self._root = root
        self._count = 0
        self._stores: list[ContentStore] = []
        self.withdrawn: list[Digest] = []

    async def make(self, settings: StoreSettings | None = None, **more: Any) -> Any:
        if self.kind == "memory":
            return await self._memory(settings, **more)
        self._count += 1
        return await self._disk(self._root / str(self._count), settings, **more)

    async def crashed(self, store: Any, settings: StoreSettings | None = None, **more: Any) -> Any:
        """Give the store that comes up after the process of this one was killed now."""
        if self.kind == "memory":
            return await self._memory(settings, files=store.files, **more)
        self._count += 1
        root = self._root / str(self._count)
        shutil.copytree(store._paths.root, root)
        return await self._disk(root, settings, **more)

    def corrupt(self, store: Any, digest: Digest, at: int = 0) -> None:
        path = store._paths.blob(digest)
        fd = store._disk.create(path, store.find(digest).size)
        with open(fd, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1]))

    def stamp(self, store: Any, digest: Digest, seconds: int) -> None:
        """Set the time of a blob's last use: the kernel's clock is too coarse to tell two in a test apart."""
        if self.kind == "disk":
            os.utime(store._paths.blob(digest), (seconds, seconds))

    def close(self) -> None:
        for store in self._stores:
            store.close()

    async def _memory(self, settings: StoreSettings | None, **more: Any) -> MemoryStore:
        store = MemoryStore(settings, withdraw=self.withdrawn.append, **{"hasher": HASHER, **more})
        await store.recover()
        self._stores.append(store)
        return store

    async def _disk(self, root: Path, settings: StoreSettings | None, **more: Any) -> DiskStore:
        store = await DiskStore.load(
            root,
            settings or StoreSettings(minimum_free=0),
            withdraw=self.withdrawn.append,
            **{"hasher": HASHER, **more},
        )
        self._stores.append(store)
        return store


@contextmanager
def held(store: Any, call: str) -> Iterator[None]:
    """Let no ``read`` or ``write`` of the store's files go on before the block is left."""
    disk = store._disk
    plain = getattr(disk, call)
    release = threading.Event()

    def waiting(*args: Any) -> Any:
        assert release.wait(30)
        return plain(*args)

    setattr(disk, call, waiting)
    try:
        yield
    finally:
        delattr(disk, call)
        release.set()


async def put(store: Any, content: Blob) -> None:
    """Store a blob as from the origin."""
    partial = await store.open_partial(content.digest, content.size)
    assert await partial.append(0, memoryview(content.data))
    await partial.commit()
    await partial.close()
