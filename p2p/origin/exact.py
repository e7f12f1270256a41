"""One GET of a span of some content, held to what it promised: not a byte less, not one more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from p2p.errors import OriginProtocolError, OriginUnreachableError
from p2p.origin.ranges import Span, parse_content_range, parse_length, parse_unsatisfied, range_fault

if TYPE_CHECKING:
    from p2p.origin.session import Answer, Ask, Session

STRAIGHT_FROM = 4 << 20
"""Bodies of so many bytes are received straight into the reader's memory, which costs their connection."""


class Exact:
    """``length`` bytes of an answer's body, after ``skip`` that are dropped; then the body must end.

    ``cut``: the body goes on behind what was asked for (a server without ranges); it is left there.
    """

    def __init__(
        self, answer: Answer, length: int, *, skip: int = 0, cut: bool = False, begun: bytes = b""
    ) -> None:
        self._answer = answer
        self._skip = skip
        self._length = length
        self._left = length
        self._cut = cut
        self._begun = begun
        self._rest = memoryview(b"")
        self._straight = False

    async def receive(self) -> bytes:
        """Give the next bytes, b"" when all have been given.

        OriginUnreachableError where the body ends too early, OriginProtocolError where it does not end.
        """
        while self._left:
            part = self._begun or await self._answer.receive()
            self._begun = b""
            if not part:
                raise self._short()
            if self._skip:
                dropped = min(self._skip, len(part))
                self._skip -= dropped
                part = part[dropped:]
                if not part:
                    continue
            if len(part) > self._left:
                if not self._cut:
                    raise self._overrun()
                part = part[: self._left]
            self._left -= len(part)
            if not self._left and not self._cut:
                # Before the last byte is given away: this ends the body properly, so that the connection is
                # kept, and no one ever gets a whole body from an answer that ran over.
                await self.finish()
            return part
        return b""

    async def receive_into(self, view: memoryview) -> int:
        """Fill ``view`` as far as the body reaches, 0 at its end; large bodies without copies."""
        if not self._straight:
            large = self._left >= STRAIGHT_FROM and self._left == self._length
            self._straight = large and not self._skip and not self._begun and self._answer.fillable
        if not self._straight:
            if not self._rest:
                self._rest = memoryview(await self.receive())
            taken = min(len(self._rest), len(view))
            view[:taken] = self._rest[:taken]
            self._rest = self._rest[taken:]
            return taken
        wanted = min(len(view), self._left)
        taken = await self._answer.fill(view[:wanted]) if wanted else 0
        self._left -= taken
        if taken < wanted:
            raise self._short()
        return taken

    async def finish(self) -> None:
        """See that the body ends here."""
        if await self._answer.receive():
            raise self._overrun()

    def _short(self) -> OriginUnreachableError:
        return OriginUnreachableError(
            self._answer.name,
            f"the body ended {self._left} bytes short of the {self._length} that were promised",
        )

    def _overrun(self) -> OriginProtocolError:
        return OriginProtocolError(
            self._answer.name, f"the body is longer than the {self._length} bytes that were promised"
        )

    async def aclose(self) -> None:
        """Close the answer."""
        await self._answer.aclose()


@dataclass(frozen=True, slots=True)
class Opened:
    """A span under way: ``body`` gives bytes ``[span.start, stop)`` of ``size``.

    ``url`` is where it came from in the end; ``ranged`` whether the server took the range.
    """

    body: Exact
    stop: int
    size: int
    media_type: str
    url: str
    ranged: bool


async def open_span(
    session: Session, ask: Ask, span: Span, *, rangeless: Span | None = None, limit: int = 0
) -> Opened:
    """Ask for a span and check the answer's head. Raises OriginError; else ``body`` must be closed.

    ``rangeless`` is what is taken, in place of ``span``, of a server that has no ranges and gives all.
    An answer without a length is read whole into memory if it fits ``limit`` bytes (manifests), and
    otherwise measured by a HEAD (blobs, ``limit`` 0).
    """
    wanted = span.header()
    headers = {**ask.headers, "Range": wanted} if wanted is not None else ask.headers
    ok = frozenset({200, 206, 416} if wanted is not None else {200})
    answer = await session.send(replace(ask, headers=headers, ok=ok))
    try:
        answer.refuse_encoding()
        match answer.status:
            case 206:
                return _partial(answer, span)
            case 416:
                return await _unsatisfied(session, answer, ask, span, limit)
            case _:
                return await _whole(session, answer, ask, rangeless or span, limit)
    except BaseException:
        await answer.aclose()
        raise


def _partial(answer: Answer, span: Span) -> Opened:
    got = parse_content_range(answer.headers.get("content-range"))
    fault = range_fault(span, got)
    if fault or got is None:
        raise OriginProtocolError(answer.name, fault)
    length = got.stop - got.start
    stated = answer.headers.get("content-length")
    if stated is not None and parse_length(stated) != length:
        raise OriginProtocolError(answer.name, f"states {stated!r} bytes for a range of {length}")
    return Opened(Exact(answer, length), got.stop, got.size, _media_type(answer), answer.url, ranged=True)


async def _whole(session: Session, answer: Answer, ask: Ask, span: Span, limit: int) -> Opened:
    stated = answer.headers.get("content-length")
    size = parse_length(stated)
    begun = b""
    if stated is not None and size is None:
        raise OriginProtocolError(answer.name, f"states a length that is none, {stated!r}")
    if size is None and limit:
        data = bytearray()
        while part := await answer.receive():
            data += part
            if len(data) > limit:
                raise OriginProtocolError(answer.name, f"{ask} gives more than {limit} bytes")
        size, begun = len(data), bytes(data)
    elif size is None:
        size = await content_size(session, replace(ask, method="HEAD", at="", ok=frozenset({200})))
    if span.start > size:
        raise OriginProtocolError(answer.name, f"{ask} has {size} bytes, and byte {span.start} was asked for")
    stop = size if span.stop is None else min(span.stop, size)
    body = Exact(answer, stop - span.start, skip=span.start, cut=stop < size, begun=begun)
    if size == 0:
        await body.finish()
    return Opened(body, stop, size, _media_type(answer), answer.url, ranged=False)


async def _unsatisfied(session: Session, answer: Answer, ask: Ask, span: Span, limit: int) -> Opened:
    """A server that has no such bytes: right at the end of the content, as for any range of an empty one."""
    size = parse_unsatisfied(answer.headers.get("content-range"))
    media_type = _media_type(answer) if size == 0 else ""
    await answer.discard()
    if size is None and span.start == 0:
        return await open_span(session, ask, Span(0), limit=limit)
    if size != span.start:
        known = "of unknown size" if size is None else f"of {size} bytes"
        raise OriginProtocolError(answer.name, f"{ask} is {known}, and byte {span.start} was asked for")
    return Opened(Exact(answer, 0), size, size, media_type, answer.url, ranged=True)


async def content_size(session: Session, ask: Ask) -> int:
    """The Content-Length that a HEAD states. Raises OriginProtocolError where it states none."""
    answer = await session.small(ask)
    await answer.discard()
    size = parse_length(answer.headers.get("content-length"))
    if size is None:
        raise OriginProtocolError(session.name, f"{ask} was answered without a Content-Length")
    return size


def _media_type(answer: Answer) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip()
