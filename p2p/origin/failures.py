"""What went wrong at an upstream, said so that the one on call knows what to do: thing, cause, mend."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

import httpx

from p2p.errors import (
    OriginDeniedError,
    OriginError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
)
from p2p.origin.redirects import origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_RETRY_AFTER: Final = 5.0
"""Seconds to stay away after a 429 that does not say for how long."""


def transport_failure(name: str, url: str, error: Exception) -> OriginError:
    """Map what httpx raised while talking to ``url`` for upstream ``name``."""
    _, host, port = origin_of(url)
    place = f"{host}:{port}"
    reachable = f"Check that {place} can be reached from this host, and its firewall and proxy"
    causes = tuple(_chain(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return OriginUnreachableError(
                name,
                f"the certificate of {place} is not trusted ({cause.verify_message})",
                f"If the registry has a CA of its own, set upstreams.{name}.ca_file to its certificate",
            )
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") == "WRONG_VERSION_NUMBER":
            return OriginUnreachableError(
                name,
                f"{place} does not speak TLS",
                f"If the registry is plain HTTP, give upstreams.{name}.url with http://",
            )
        if isinstance(cause, ssl.SSLError):
            return OriginUnreachableError(
                name, f"TLS with {place} failed ({getattr(cause, 'reason', '') or cause})", reachable
            )
        if isinstance(cause, socket.gaierror):
            return OriginUnreachableError(
                name,
                f"the name {host} can't be resolved ({cause.strerror})",
                f"Check upstreams.{name}.url and this host's DNS",
            )
        if isinstance(cause, ConnectionRefusedError):
            return OriginUnreachableError(name, f"{place} refuses connections", reachable)
    last = causes[-1]
    match error:
        case httpx.ConnectTimeout():
            text = f"no connection to {place} in time ({error})"
        case httpx.PoolTimeout():
            text = f"all connections to {place} were in use"
        case httpx.TimeoutException():
            text = f"{place} is silent ({error})"
        case httpx.LocalProtocolError() | httpx.RemoteProtocolError():
            said = str(error)
            if "disconnected" not in said and "closed" not in said:
                return OriginProtocolError(name, f"{place} breaks HTTP ({said})")
            text = f"{place} closed the connection in the middle ({said})"
        case _:
            detail = last.strerror if isinstance(last, OSError) and last.strerror else str(error)
            text = f"the connection to {place} failed ({detail})"
    return OriginUnreachableError(name, text, reachable)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        # httpcore's pool raises "from None", which leaves the first cause in the context only.
        seen = seen.__cause__ or seen.__context__


def passing(error: Exception) -> bool:
    """Whether a small request may be repeated at once: no connection, a lost one, a 5xx; not a timeout."""
    if isinstance(error, OriginStatusError):
        return error.status >= 500
    return isinstance(error, OriginUnreachableError) and isinstance(error.__cause__, httpx.NetworkError)


def limited(name: str, retry_after: float) -> OriginLimitedError:
    """The upstream said 429, or its breaker is open after such answers or 5xx."""
    return OriginLimitedError(
        name,
        f"the upstream limits or fails our requests; it is left alone for {retry_after:.0f} s more",
        f"Log in to raise a limit on anonymous pulls (docker login, or upstreams.{name}.username), or wait",
        retry_after=retry_after,
    )


def status_failure(name: str, status: int, what: str, said: str, retry_after: float | None) -> OriginError:
    """Map an answer that is not what ``what`` ("GET /v2/…") asked for; ``said`` is the body's message."""
    told = f", saying “{said}”" if said else ""
    reading = what.startswith(("GET", "HEAD"))
    match status:
        case 404 | 410:
            return OriginNotFoundError(name, f"{what} was answered {status}{told}")
        case 403:
            return OriginDeniedError(
                name,
                f"{what} was answered 403{told}",
                f"The account in use may not {'read' if reading else 'write to'} this repository,"
                " or the repository does not exist",
            )
        case 401:
            return OriginDeniedError(
                name,
                f"{what} was answered 401 by a host that gets no credentials from us{told}",
                "The upstream leads to storage that this host may not use; ask its operator",
            )
        case 405 if not reading:
            return OriginStatusError(
                name,
                f"{what} was answered 405{told}",
                "This registry takes no pushes (a pull-through cache, or read-only)",
                status=status,
            )
        case 413:
            return OriginStatusError(
                name,
                f"{what} was answered 413{told}",
                "It is larger than the registry, or a proxy before it, takes; raise the limit there",
                status=status,
            )
        case 429:
            return limited(name, DEFAULT_RETRY_AFTER if retry_after is None else retry_after)
        case _:
            mend = (
                "The upstream is in trouble; its own log and status page know more" if status >= 500 else ""
            )
            return OriginStatusError(name, f"{what} was answered {status}{told}", mend, status=status)
