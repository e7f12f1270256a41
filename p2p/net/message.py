"""What a handler takes and gives: requests, responses, and the kinds of body the server can send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

Header = tuple[bytes, bytes]


class RequestBody(Protocol):
    """The body of a request, read once."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raises ``BodyError`` on a broken or too slow one."""
        ...

    async def read(self, limit: int) -> bytes:
        """Read it whole; raises ``BodyTooLargeError`` as soon as it passes ``limit`` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``path`` is the raw path, percent-encoding untouched; ``query`` likewise.

    ``headers`` have lower-case names, in order of arrival. ``peer`` is the client's address as text.
    ``principal``: who the client has proven to be, empty where nobody asked.
    """

    method: str
    path: str
    query: str
    headers: tuple[Header, ...]
    body: RequestBody
    peer: str = ""
    scheme: str = "http"
    principal: str = ""

    def header(self, name: bytes) -> str | None:
        """Value of the first header of this (lower-case) name, latin-1, or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


@dataclass(frozen=True, slots=True)
class FileSpan:
    """``length`` bytes of an open file from ``offset``, sent with sendfile; the body owns the file."""

    fd: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Content:
    """A small body in memory."""

    data: bytes = b""

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Spans:
    """A body of exactly ``length`` bytes from parts that come as they can.

    The server sends each part before it asks for the next, closes the iterator in every case, and cuts
    the connection if it raises, ends early, or runs over: an error is never appended to a body.
    ``close`` is called once when the body is done with, sent or not (HEAD never starts ``parts``).
    """

    length: int
    parts: Callable[[], AsyncIterator[FileSpan | bytes]]
    close: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Takeover:
    """Give the connection away (WebSocket): ``run`` gets a stream that replays the request's bytes.

    The response's status and headers are not sent; ``run`` owns the protocol from there. When it
    returns the connection is closed.
    """

    run: Callable[[trio.abc.Stream], Awaitable[None]]


Body = Content | Spans | Takeover


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. The server adds ``Date``, ``Content-Length`` and, where due, ``Connection: close``.

    On HEAD the body is not sent, its length is. ``close`` asks for the connection to end after it.
    """

    status: int
    headers: tuple[Header, ...] = ()
    body: Body = field(default_factory=Content)
    close: bool = False


Handler = Callable[[Request], Awaitable[Response]]
