"""What ``remora gc`` and ``remora scrub`` have a running node do, told line by line while it is done.

Each line is a JSON object, and the last one has a ``summary`` or an ``error``: without it the rest is
missing. A blank line comes where there is nothing to tell yet. Whoever closes the connection ends the work.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from p2p.core.oci.error import RegistryError
from p2p.errors import RemoraError, StoreError
from p2p.net.message import Takeover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.core.oci.digest import Digest
    from p2p.registry.intake import Intake
    from p2p.store.api import StoredBlob
    from p2p.store.scrubber import Scrubbed, Scrubber

log = structlog.get_logger(__name__)

BEAT: Final = 1.0
"""Seconds without news after which a blank line is sent."""

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
_READ: Final = 4096

Tell = Callable[[Mapping[str, object]], None]
"""Takes a line."""

Work = Callable[[Tell], Awaitable[Mapping[str, object]]]
"""Does something, tells of it, and gives the summary."""


class Upkeep:
    """Collects and scrubs when asked. ``store`` is what ``scrubber`` goes round."""

    def __init__(self, *, intake: Intake, scrubber: Scrubber, store: Scrubbed) -> None:
        self._intake = intake
        self._scrubber = scrubber
        self._store = store

    def collect(self, *, dry_run: bool, early: bool) -> Takeover:
        """Review what is due (``early``: and what is queued for later): a line for each blob that goes.

        ``dry_run`` tells what would go and changes nothing.
        """

        async def work(tell: Tell) -> Mapping[str, object]:
            size = 0

            def told(digest: Digest, one: int) -> None:
                nonlocal size
                size += one
                tell({"digest": str(digest), "size": one})

            review = self._intake.preview if dry_run else self._intake.collect
            gone = await review(early=early, told=told)
            queue = await self._intake.garbage()
            return {
                "dry_run": dry_run,
                "blobs": len(gone),
                "bytes": size,
                "queued": queue.queued,
                "overdue": queue.overdue,
                "retries": queue.retries,
                "collects": await self._intake.collects(),
            }

        return lines(work)

    async def scrub(self, digests: Sequence[Digest] = ()) -> Takeover:
        """Hash these blobs, or all: a line with what is to be done, and one for each that was done.

        RegistryError BLOB_UNKNOWN for one that is not here.
        """
        here = {blob.digest: blob for blob in await self._store.oldest_verified()}
        for digest in digests:
            if digest not in here:
                raise RegistryError("BLOB_UNKNOWN", f"{digest} is not in the store of this node")
        chosen = [here[digest] for digest in dict.fromkeys(digests)] if digests else list(here.values())

        async def work(tell: Tell) -> Mapping[str, object]:
            tell({"blobs": len(chosen), "bytes": sum(blob.size for blob in chosen)})
            counts = {"good": 0, "bad": 0, "failed": 0, "gone": 0}
            for blob in chosen:
                state, cause = await self._scrub(blob)
                counts[state] += 1
                tell({"digest": str(blob.digest), "size": blob.size, "state": state, "cause": cause})
            return counts

        return lines(work)

    async def _scrub(self, blob: StoredBlob) -> tuple[str, str]:
        try:
            holds = await self._scrubber.scrub(blob)
        except KeyError:
            return "gone", ""
        except StoreError as error:
            return "failed", str(error)
        return ("good", "") if holds else ("bad", "its bytes do not match its digest: it was put aside")


def tell_bad(digest: Digest) -> None:
    """Log that a blob at rest was found to be corrupt."""
    log.error(
        "a stored blob was corrupt and is put aside",
        digest=str(digest),
        mend="Suspect the disk or the memory. It is fetched again; push again what nobody else has",
    )


def lines(work: Work) -> Takeover:
    """Answer with what ``work`` tells, as it tells it; it is cancelled when the client leaves."""

    async def run(stream: trio.abc.Stream) -> None:
        send, receive = trio.open_memory_channel[Mapping[str, object]](math.inf)

        async def do() -> None:
            with send:
                try:
                    send.send_nowait({"summary": await work(send.send_nowait)})
                except RemoraError as error:
                    send.send_nowait({"error": str(error)})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, stream, nursery.cancel_scope)
            nursery.start_soon(do)
            await stream.send_all(_HEAD)
            while True:
                line = b""
                try:
                    with trio.move_on_after(BEAT):
                        line = msgspec.json.encode(await receive.receive())
                except trio.EndOfChannel:
                    break
                await stream.send_all(line + b"\n")
            nursery.cancel_scope.cancel()

    return Takeover(run)


async def _watch(stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
    """Cancel when the client has gone. What it sends (first its request, again) says nothing."""
    try:
        while await stream.receive_some(_READ):
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
