"""GET and HEAD of manifests, by tag and by digest, byte-exact and never converted.

``Accept`` is not heeded: clients that can't read what there is say so better than a 404 would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2p.core.oci.error import RegistryError
from p2p.net.message import Content, Response, Spans
from p2p.origin.api import Kind
from p2p.registry.replies import content_headers, not_modified

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.net.message import Header, Request
    from p2p.registry.api import RequestStatistics
    from p2p.registry.pull import Puller
    from p2p.registry.upstreams import Choice
    from p2p.store.api import Store


class Manifests:
    """The manifest endpoint of pulls. ``first_byte_timeout`` in seconds."""

    def __init__(
        self, *, puller: Puller, store: Store, statistics: RequestStatistics, first_byte_timeout: float
    ) -> None:
        self._puller = puller
        self._store = store
        self._statistics = statistics
        self._timeout = first_byte_timeout

    async def answer(
        self, request: Request, choice: Choice, *, tag: str | None, digest: Digest | None
    ) -> Response:
        """Answer one GET or HEAD of exactly one of tag and digest. Raises RemoraError."""
        with trio.move_on_after(self._timeout):
            target = await self._target(choice, tag, digest)
            unmodified = not_modified(request, choice, target.digest)
            if unmodified is not None:
                return unmodified
            if request.method == "HEAD" and target.size > 0:
                self._puller.admit(choice.repository, target.digest, target.size)
                return _head(choice, target)
            return await self._whole(choice, target)
        raise RegistryError(
            "UNAVAILABLE",
            f"{choice.repository}: the manifest {tag or digest} did not come within {self._timeout:g} s",
            status=504,
            mend="The download goes on: try again",
        )

    async def _target(self, choice: Choice, tag: str | None, digest: Digest | None) -> Descriptor:
        if digest is not None:
            return await self._puller.prove(choice.repository, digest, Kind.MANIFEST)
        resolved = await self._puller.resolve(choice.repository, tag or "")
        self._statistics.stale_tags += resolved.stale
        return resolved.target

    async def _whole(self, choice: Choice, target: Descriptor) -> Response:
        if self._store.find(target.digest) is None:
            if choice.hosted and not choice.pushable:
                raise RegistryError(
                    "MANIFEST_UNKNOWN", f"hosted repository {choice.name} has no {target.digest} any more"
                )
            self._statistics.misses += 1
        else:
            self._statistics.hits += 1
        pulled = await self._puller.manifest(choice.repository, target)
        self._statistics.sent += len(pulled.data)
        return Response(200, _headers(choice, pulled.descriptor), Content(pulled.data))


def _headers(choice: Choice, target: Descriptor) -> tuple[Header, ...]:
    return (
        (b"Content-Type", target.media_type.encode("ascii")),
        *content_headers(choice, target.digest),
    )


def _head(choice: Choice, target: Descriptor) -> Response:
    return Response(200, _headers(choice, target), Spans(target.size, _never_begun))


def _never_begun() -> AsyncIterator[bytes]:
    raise AssertionError("the body of an answer to HEAD is not begun")
