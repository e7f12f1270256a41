"""The webhook: events POSTed to a URL.

No redirect is followed (it could lead anywhere with our headers), certificates are always checked, and of the
answer no more than its status counts.
"""

from __future__ import annotations

import hmac
import re
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx
import trio

from p2p import __version__
from p2p.errors import ConfigError, NotificationError
from p2p.notifications import cloudevents, distribution
from p2p.notifications.backoff import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from p2p.config import SinkSettings
    from p2p.notifications.api import Event

SIGNATURE: Final = "X-Remora-Signature-256"
"""Header with ``sha256=`` and the hex HMAC of the body under the sink's secret."""

ANSWER_BYTES: Final = 64 * 1024
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~]*)")
_FORMATS: Final = ("distribution", "cloudevents")


class Webhook:
    """``Sink`` that POSTs; made by ``open_webhook``."""

    def __init__(self, client: httpx.AsyncClient, name: str, settings: SinkSettings, node: str) -> None:
        self._client = client
        self._subject = f"sink {name}"
        self._settings = settings
        self._node = node

    async def send(self, events: Sequence[Event]) -> None:
        """``Sink.send``: one request; a status of 2xx takes them."""
        if self._settings.format == "cloudevents":
            kind, body = cloudevents.structured(events, node=self._node)
        else:
            kind, body = distribution.CONTENT_TYPE, distribution.envelope(events, node=self._node)
        headers = {"Content-Type": kind}
        if self._settings.secret:
            headers[SIGNATURE] = signature(self._settings.secret, body)
        try:
            with trio.fail_after(self._settings.timeout):
                await self._post(headers, body)
        except trio.TooSlowError as error:
            raise self._error(f"it did not answer within {self._settings.timeout:g} s") from error
        except httpx.HTTPError as error:
            raise self._error(f"it can't be reached: {_words(error)}") from error

    async def missed(self) -> None:
        """``Sink.missed``: a receiver has no use for it; the log says what is lost."""

    async def _post(self, headers: dict[str, str], body: bytes) -> None:
        async with self._client.stream("POST", self._settings.url, content=body, headers=headers) as response:
            if not response.is_success:
                wish = parse_retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
                raise self._error(f"it answers with status {response.status_code}", retry_after=wish)
            length = response.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and int(length[:12]) <= ANSWER_BYTES:
                async for _ in response.aiter_raw():  # to its end: the connection can be used again
                    pass

    def _error(self, cause: str, *, retry_after: float = 0.0) -> NotificationError:
        return NotificationError(self._subject, cause, "See the receiver's log", retry_after=retry_after)


def _words(error: BaseException) -> str:
    """Say what went wrong: httpx leaves out the words of a failed handshake, which are in a cause."""
    inner: BaseException | None = error
    while inner is not None:
        if str(inner):
            return str(inner)
        inner = inner.__cause__ or inner.__context__
    return type(error).__name__


def signature(secret: str, body: bytes) -> str:
    """Give the value of the signature's header."""
    return f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"


@asynccontextmanager
async def open_webhook(name: str, settings: SinkSettings, node: str) -> AsyncIterator[Webhook]:
    """Make a webhook: the entry point ``webhook`` of ``remora.sinks``. ConfigError for bad settings."""
    url = _checked(name, settings)
    headers = [("User-Agent", f"remora/{__version__}")]
    for line in settings.headers:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ConfigError(f"sink {name}", "one of its headers is none", "Write each as Name: value")
        headers.append((match[1], match[2]))
    verify = _context(name, settings.ca_file) if url.scheme == "https" else True
    async with httpx.AsyncClient(
        headers=headers,
        verify=verify,
        timeout=settings.timeout,
        follow_redirects=False,
        trust_env=False,
    ) as client:
        yield Webhook(client, name, settings, node)


def _checked(name: str, settings: SinkSettings) -> httpx.URL:
    if settings.format not in _FORMATS:
        raise ConfigError(
            f"sink {name}", f"there is no format {settings.format!r}", f"Choose of: {', '.join(_FORMATS)}"
        )
    try:
        url = httpx.URL(settings.url)
    except httpx.InvalidURL as error:
        raise ConfigError(
            f"sink {name}", f"its url is none: {error}", "Write it as https://host/path"
        ) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(
            f"sink {name}", "its url is not one of http or https", "Write it as https://host/path"
        )
    return url


def _context(name: str, ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # SSLError is one
        raise ConfigError(f"sink {name}", f"ca_file {ca_file} can't be read: {error}", "Check it") from error
