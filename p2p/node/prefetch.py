"""What a node does about prefetch intents: pull whole images in the background and keep them pinned."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import structlog
import trio

from p2p.core.oci.descriptor import Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import DEFAULT_TAG, validate_tag
from p2p.core.wire.tracker import Intent, IntentCancel, IntentProgress
from p2p.errors import RemoraError, lone
from p2p.origin.api import Kind
from p2p.transfer.api import Sources, Wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.reference import Repository
    from p2p.registry.pull import Puller
    from p2p.registry.upstreams import Upstreams
    from p2p.transfer.api import Transfer

IMAGES = 2
"""Images of one job pulled at once."""

BLOBS = 4
"""Blobs of one image fetched at once."""

REPORT_SECONDS = 0.5

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

log = structlog.get_logger(__name__)


def host_platform() -> Platform:
    """Give this host's platform as images name it."""
    machine = platform.machine()
    variant = "v7" if machine == "armv7l" else ""
    return Platform("linux", _ARCHITECTURES.get(machine, machine), variant)


def split_image(image: str) -> tuple[str, str, Digest | None]:
    """Split ``name[:tag][@digest]`` into name, tag (``latest`` where none is said) and digest.

    RegistryError for a tag or a digest that is none.
    """
    name, at, digest = image.partition("@")
    head, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        name = head
        validate_tag(tag)
    else:
        tag = DEFAULT_TAG
    return name, tag, Digest.parse(digest) if at else None


class Prefetcher:
    """Takes intents (``take`` never blocks) and reports how they go. ``pin`` keeps a blob from eviction."""

    def __init__(
        self,
        *,
        upstreams: Upstreams,
        puller: Puller,
        transfer: Transfer,
        pin: Callable[[Digest], Awaitable[None]],
        report: Callable[[IntentProgress], None],
    ) -> None:
        self._upstreams = upstreams
        self._puller = puller
        self._transfer = transfer
        self._pin = pin
        self._report = report
        self._jobs: dict[str, trio.CancelScope] = {}
        self._inbox: list[tuple[Intent, trio.CancelScope]] = []
        self._wake = trio.Event()

    def take(self, message: Intent | IntentCancel) -> None:
        """Take a job up, or drop it; an intent that comes again is reported on from where it stands."""
        if isinstance(message, IntentCancel):
            scope = self._jobs.pop(message.job, None)
            if scope is not None:
                scope.cancel()
        elif message.job not in self._jobs:
            scope = self._jobs[message.job] = trio.CancelScope()
            self._inbox.append((message, scope))
            self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work on jobs until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._inbox:
                    nursery.start_soon(self._work, *self._inbox.pop(0))

    async def _work(self, intent: Intent, scope: trio.CancelScope) -> None:
        limit = trio.CapacityLimiter(IMAGES)
        with scope:
            async with trio.open_nursery() as nursery:
                for image in intent.images:
                    nursery.start_soon(self._image, intent.job, image, limit)
        if self._jobs.get(intent.job) is scope:  # not cancelled, and begun again meanwhile
            del self._jobs[intent.job]

    async def _image(self, job: str, image: str, limit: trio.CapacityLimiter) -> None:
        sources, total = Sources(), 0

        def tell(state: str, detail: str = "") -> None:
            self._report(IntentProgress(job, image, state, total, sources.pairs(), detail))

        async with limit:
            tell("resolving")
            try:
                repository, manifests, children = await self._resolve(image)
            except Exception as error:  # told to whoever asked for the job; the other images go on
                tell("failed", _reason(error, image))
                return
            blobs = {one.digest: one for one in (*manifests, *children)}
            total = sum(one.size for one in blobs.values())
            tell("pulling")
            failures: list[str] = []
            kinds = dict.fromkeys((one.digest for one in manifests), Kind.MANIFEST)
            async with trio.open_nursery() as reporting:
                reporting.start_soon(_repeat, lambda: tell("pulling"))
                slots = trio.CapacityLimiter(BLOBS)
                async with trio.open_nursery() as nursery:
                    for one in blobs.values():
                        wanted = Wanted(repository, one.digest, kinds.get(one.digest, Kind.BLOB), one.size)
                        nursery.start_soon(self._blob, wanted, sources, slots, failures)
                reporting.cancel_scope.cancel()
            if failures:
                log.warning("prefetch failed", job=job, image=image, error=failures[0])
                tell("failed", failures[0])
            else:
                log.info("prefetched", job=job, image=image, bytes=total)
                tell("done")

    async def _resolve(self, image: str) -> tuple[Repository, list[Descriptor], tuple[Descriptor, ...]]:
        """Find the image's manifests and the blobs of this host's platform."""
        name, tag, digest = split_image(image)
        repository = self._upstreams.choose(name).repository
        # Whoever may order a prefetch is the operator: nothing need be proven. Peers still get nothing.
        await self._puller.learn(repository, tag if digest is None else str(digest))
        if digest is not None:
            target = await self._puller.prove(repository, digest, Kind.MANIFEST)
        else:
            target = (await self._puller.resolve(repository, tag)).target
        pulled = await self._puller.manifest(repository, target)
        manifests, manifest = [pulled.descriptor], pulled.parse()
        if manifest.is_index:
            chosen = manifest.select(host_platform())
            if chosen is None:
                raise RemoraError(image, f"has no image for {host_platform()}", "Name another tag.")
            pulled = await self._puller.manifest(repository, chosen)
            manifests.append(pulled.descriptor)
            manifest = pulled.parse()
        return repository, manifests, tuple(manifest.children)

    async def _blob(
        self, wanted: Wanted, sources: Sources, slots: trio.CapacityLimiter, failures: list[str]
    ) -> None:
        async with slots:
            try:
                await self._pin(wanted.digest)
                await self._transfer.fetch(wanted, sources)
            except Exception as error:  # told with the image's state; the other blobs go on
                failures.append(_reason(error, str(wanted.digest)))


def _reason(error: Exception, subject: str) -> str:
    """Say why; a fault of our own goes to the log as well: one broken pull must not take the node with it."""
    error = sole if isinstance(sole := lone(error), Exception) else error
    if isinstance(error, RemoraError):
        return str(error)
    log.error("prefetch broke", subject=subject, exc_info=error)
    return f"{subject}: {error!r}"


async def _repeat(tell: Callable[[], None]) -> None:
    while True:
        await trio.sleep(REPORT_SECONDS)
        tell()
