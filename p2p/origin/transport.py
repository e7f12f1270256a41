"""An httpx transport on httpcore's pools, with our sockets under them.

httpx's own transport takes neither a network backend nor a lazily made TLS context; and its streams are
nested generators that trio complains about when one is left in the middle. `Stream` can be left anywhere.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Final

import httpcore
import httpx
import trio

from p2p.errors import ConfigError
from p2p.origin.backend import VettedBackend, VettedStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2p.origin.addresses import AddressPolicy

MAX_CONNECTIONS: Final = 128
KEPT_CONNECTIONS: Final = 16
KEPT_FOR: Final = 30.0
"""Idle connections, and for how many seconds: less than servers and middleboxes keep theirs."""


class Transport(httpx.AsyncBaseTransport):
    """The connections of one upstream. Raises httpx's errors, and OriginProtocolError for addresses."""

    def __init__(self, name: str, policy: AddressPolicy, ca_file: str = "") -> None:
        self._name = name
        self._backend = VettedBackend(name, policy)
        self._ca_file = ca_file
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}
        self._making = trio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a kept or new connection; the answer's body is still to be read."""
        pool = await self._pool(request.url.scheme)
        again = request.method in ("GET", "HEAD")
        while True:
            trace = _Trace()
            asked = httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions={**request.extensions, "trace": trace},
            )
            try:
                answer = await pool.handle_async_request(asked)
            except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError) as error:
                # A kept connection that the server closed while we wrote: no answer, so ask once more.
                if again and not trace.fresh:
                    again = False
                    continue
                raise _translate(error) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
                raise _translate(error) from error
            except trio.Cancelled:
                await _close_abandoned(pool)
                raise
            patience = request.extensions.get("timeout", {}).get("read") or math.inf
            return httpx.Response(
                answer.status,
                headers=answer.headers,
                stream=Stream(answer, patience),
                extensions=answer.extensions,
            )

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()

    async def _pool(self, scheme: str) -> httpcore.AsyncConnectionPool:
        async with self._making:
            if scheme not in self._pools:
                self._pools[scheme] = httpcore.AsyncConnectionPool(
                    ssl_context=await self._tls() if scheme == "https" else None,
                    max_connections=MAX_CONNECTIONS,
                    max_keepalive_connections=KEPT_CONNECTIONS,
                    keepalive_expiry=KEPT_FOR,
                    http1=True,
                    http2=False,
                    network_backend=self._backend,
                )
            return self._pools[scheme]

    async def _tls(self) -> ssl.SSLContext:
        try:
            # Reading the system's certificates takes some 30 ms: not on the loop.
            return await trio.to_thread.run_sync(_make_context, self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the ca_file of upstream {self._name}",
                f"{self._ca_file} can't be used ({error.strerror or error})",
                "Give a readable file of certificates in PEM",
            ) from error


async def _close_abandoned(pool: httpcore.AsyncConnectionPool) -> None:
    """Close what a cancelled request had been given and did not begin to use.

    httpcore would keep such a connection for ever: it is neither idle nor closed, and takes one of
    ``MAX_CONNECTIONS`` places. Nothing public tells whose a connection is.
    """
    used = {id(request.connection) for request in pool._requests}
    with trio.CancelScope(shield=True):
        for connection in pool.connections:
            if id(connection) not in used and not connection.is_idle() and not connection.is_closed():
                assert isinstance(connection, httpcore.AsyncHTTPConnection)
                connection._connect_failed = True
                await connection.aclose()
        await pool._close_connections(pool._assign_requests_to_connections())


def _make_context(ca_file: str) -> ssl.SSLContext:
    # The system's store, as Docker's client uses it, and not a list shipped with a library.
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


class _Trace:
    """Learns from httpcore whether a request made a new connection."""

    def __init__(self) -> None:
        self.fresh = False

    async def __call__(self, event: str, info: object) -> None:
        del info
        if event == "connection.connect_tcp.started":
            self.fresh = True


class Outgoing(httpx.AsyncByteStream):
    """A request's body, from an iterator that can be left anywhere; httpx's own is a generator."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts


class Stream(httpx.AsyncByteStream):
    """A body. ``aclose`` may be called at any point; what was not read is not waited for.

    It is read either by iterating, or by ``fill``, which takes the socket from httpcore: no copies, but
    the connection can't be kept afterwards.
    """

    def __init__(self, answer: httpcore.Response, patience: float) -> None:
        stream = answer.stream
        assert isinstance(stream, AsyncIterable)
        self._iterator: AsyncIterator[bytes] = aiter(stream)
        self._answer = answer
        self._patience = patience
        self._begun = False
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Give what the next read brings."""
        if self._ended:
            raise StopAsyncIteration
        self._begun = True
        try:
            return await anext(self._iterator)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            self._ended = True
            raise _translate(error) from error
        except BaseException:
            self._ended = True
            raise

    @property
    def fillable(self) -> bool:
        """Whether ``fill`` may be used: nothing was read yet, and the body is what follows on the socket."""
        network = self._answer.extensions.get("network_stream")
        return not self._begun and isinstance(network, VettedStream) and network.at_body

    async def fill(self, view: memoryview) -> int:
        """Fill ``view`` with what follows on the socket; fewer bytes only where that ends.

        For an answer with a Content-Length, and within it: nothing here knows where the body ends.
        """
        network = self._answer.extensions["network_stream"]
        assert isinstance(network, VettedStream)
        try:
            return await network.fill(view, self._patience)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise _translate(error) from error

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end; else close it."""
        if not self._ended and self._begun:
            # Nested generators are ended from the inside: make the read beneath them fail, and run into it.
            network = self._answer.extensions.get("network_stream")
            assert isinstance(network, VettedStream)
            network.abort()
            with trio.CancelScope(shield=True):
                while not self._ended:
                    try:
                        await anext(self._iterator)
                    except (StopAsyncIteration, httpcore.NetworkError, httpcore.ProtocolError):
                        self._ended = True
        self._ended = True
        await self._answer.aclose()


_ERRORS: Final = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
)


def _translate(error: Exception) -> httpx.TransportError:
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error))
    return httpx.TransportError(str(error))
