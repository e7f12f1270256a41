"""One request to an upstream, with all that belongs to it: breaker, credentials, redirects, errors.

httpx is used at its transport, without its client: that one keeps cookies and logs whole URLs, and those
of a registry's storage are signed.
"""

from __future__ import annotations

import copy
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx
import stamina
import trio

from p2p.errors import (
    ConfigError,
    OriginDeniedError,
    OriginError,
    OriginProtocolError,
    OriginUnreachableError,
)
from p2p.origin.addresses import AddressPolicy
from p2p.origin.breaker import Breaker, State, parse_retry_after
from p2p.origin.challenge import choose, covers, parse_challenges, realm_refusal
from p2p.origin.credentials import CredentialSource, OneCredential
from p2p.origin.failures import DEFAULT_RETRY_AFTER, limited, passing, status_failure, transport_failure
from p2p.origin.redirects import MAX_HOPS, STATUSES, carries_credentials, next_hop, origin_of
from p2p.origin.tokens import MAX_ANSWER, RealmAnswer, TokenCache, Want
from p2p.origin.transport import Outgoing, Stream, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from p2p.config import UpstreamSettings
    from p2p.origin.credentials import Credential

RETRIES: Final = 3
RETRY_TIME: Final = 1.5
"""Tries of a small request, and the seconds after which none is begun anew."""
_DISCARD: Final = 64 * 1024
"""Bytes of an unwanted body that are read to keep its connection; more closes it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of ``target`` (path and query) in repository ``path``; ``ok`` are the statuses wanted.

    ``at`` is a full URL to begin at instead of the upstream's, as an earlier answer gave it. ``scope`` is
    what a token must allow, the pull of ``path`` where it is empty. ``body`` can be sent again, ``stream``
    only once; that one's Content-Length must be among the headers.
    """

    method: str
    target: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ok: frozenset[int] = frozenset({200})
    at: str = ""
    scope: str = ""
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None

    @property
    def wanted_scope(self) -> str:
        """What a token for it must allow."""
        return self.scope or f"repository:{self.path}:pull"

    def __str__(self) -> str:
        return f"{self.method} {self.target.partition('?')[0]}"


class Answer:
    """An answer whose body is read part by part. Owned by whoever got it, who must ``aclose`` it."""

    def __init__(self, name: str, url: str, response: httpx.Response) -> None:
        assert isinstance(response.stream, Stream)
        self.name = name
        self.url = url
        self.status = response.status_code
        self.headers = response.headers
        self._stream = response.stream

    async def receive(self) -> bytes:
        """Give the next bytes as the network brings them, b"" at the end. Raises OriginError."""
        try:
            return await anext(self._stream, b"")
        except httpx.TransportError as error:
            raise transport_failure(self.name, self.url, error) from error

    @property
    def fillable(self) -> bool:
        """Whether the body may be read by ``fill``: none of it was read, and its length is stated."""
        headers = self.headers
        return "content-length" in headers and "transfer-encoding" not in headers and self._stream.fillable

    async def fill(self, view: memoryview) -> int:
        """Fill ``view`` from within the body's stated length; fewer bytes where the connection ends."""
        try:
            return await self._stream.fill(view)
        except httpx.TransportError as error:
            raise transport_failure(self.name, self.url, error) from error

    async def read(self, limit: int, what: str) -> bytes:
        """Read a small body whole and close; OriginProtocolError beyond ``limit`` bytes."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.aclose)
            self.refuse_encoding()
            data = bytearray()
            while part := await self.receive():
                data += part
                if len(data) > limit:
                    raise OriginProtocolError(self.name, f"{what} is longer than {limit} bytes")
            return bytes(data)

    def refuse_encoding(self) -> None:
        """Raise OriginProtocolError where the body is encoded: nothing is ever decompressed (faults.md)."""
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise OriginProtocolError(
                self.name,
                f"the body is encoded ({encoding[:40]!r}) though we asked for identity",
                "A proxy between here and the upstream compresses; turn that off",
            )

    async def discard(self) -> str:
        """Read what little there is so that the connection can be kept, close, give it as text."""
        data = bytearray()
        try:
            while len(data) < _DISCARD and (part := await self.receive()):
                data += part
        except OriginError:
            pass  # the status line is the answer; that its body was cut changes nothing
        finally:
            await self.aclose()
        return data[:_DISCARD].decode(errors="replace")

    async def aclose(self) -> None:
        """Give the connection back, or close it where bytes are left. Never waits for the network."""
        with trio.CancelScope(shield=True):
            await self._stream.aclose()


class Session:
    """The requests of one upstream. Safe for concurrent use; close with ``aclose``."""

    def __init__(
        self,
        name: str,
        settings: UpstreamSettings,
        *,
        user_agent: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        try:
            _, host, _ = origin_of(settings.url)
        except ValueError as error:
            raise ConfigError(
                f"upstreams.{name}.url",
                f"{settings.url!r} is not an http(s) URL ({error})",
                "Give it as https://registry.example",
            ) from error
        self.name = name
        self.settings = settings
        self.breaker = Breaker()
        self._base = settings.url.rstrip("/")
        self._transport = Transport(name, AddressPolicy(host, settings.private_addresses), settings.ca_file)
        self._credentials: CredentialSource | OneCredential = CredentialSource(settings, environment)
        self._tokens = TokenCache(name, self._ask_realm)
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._extensions = {
            "timeout": {
                "connect": settings.connect_timeout,
                "read": settings.read_timeout,
                "write": settings.read_timeout,
                "pool": settings.read_timeout,
            }
        }
        self._basic = False
        self._realm: tuple[str, str] | None = None
        """Realm and service where the upstream's scopes have the usual form: its 401 can be foreseen."""

    async def aclose(self) -> None:
        """Close all connections."""
        with trio.CancelScope(shield=True):
            await self._transport.aclose()

    def acting_as(self, credential: Credential | None, breaker: Breaker) -> Session:
        """Give a session over the same connections, with these credentials (None: none) and no others.

        It has ``breaker`` to itself: what an upstream makes of strangers must not stop the node. Tokens and
        credentials go with it. Close only the session that it was made from.
        """
        other = copy.copy(self)
        other.breaker = breaker
        other._credentials = OneCredential(credential)
        other._tokens = TokenCache(self.name, other._ask_realm)
        return other

    async def holds_credentials(self) -> bool:
        """Whether this node has credentials for the upstream."""
        return (await self._credentials.get()).credential is not None

    async def small(self, ask: Ask) -> Answer:
        """Send a small idempotent request; a refused or lost connection and a 5xx are retried shortly."""
        async for attempt in stamina.retry_context(
            on=passing, attempts=RETRIES, timeout=RETRY_TIME, wait_initial=0.1, wait_max=0.5, wait_jitter=0.1
        ):
            with attempt:
                return await self.send(ask)
        raise AssertionError("the last attempt returns or raises")

    async def send(self, ask: Ask) -> Answer:
        """Send a request once, through challenges and redirects; an answer with a status of ``ask.ok``.

        Raises OriginError, named and with its mend, for everything else.
        """
        now = trio.current_time()
        if not self.breaker.allow(now):
            raise limited(self.name, max(self.breaker.wait(now), 0.1))
        try:
            return await self._follow(ask)
        except OriginUnreachableError:
            if self.breaker.state is State.HALF_OPEN:
                self.breaker.failed(trio.current_time(), None)
            raise
        except OriginDeniedError:
            self.breaker.succeeded()  # it works, and says no
            raise

    async def _follow(self, ask: Ask) -> Answer:
        url = ask.at or self._base + ask.target
        for _ in range(MAX_HOPS + 1):
            answer = await self._hop(ask, url)
            if answer.status not in STATUSES:
                return await self._judge(ask, answer)
            location = answer.headers.get("location")
            await answer.discard()
            if ask.method not in ("GET", "HEAD"):
                # What is written goes where it was sent to: storage is redirected to for reading only.
                raise OriginProtocolError(self.name, f"{ask} is redirected, which nothing written follows")
            target, fault = next_hop(url, location, self._base)
            if fault:
                raise OriginProtocolError(self.name, f"{ask} {fault}")
            url = target
        raise OriginProtocolError(self.name, f"{ask} is redirected more than {MAX_HOPS} times")

    async def _hop(self, ask: Ask, url: str) -> Answer:
        """One URL, authorised where it is the upstream's own; its last answer."""
        if not carries_credentials(url, self._base):
            return await self._dial(ask.method, url, ask.headers, ask.stream or ask.body)
        authorization = await self._foresee(ask)
        answer = await self._dial(ask.method, url, _with(ask.headers, authorization), ask.stream or ask.body)
        for _ in range(2):  # a scope that was foreseen wrongly, or a kept token that ended, costs one more
            if answer.status != 401:
                return answer
            challenges = answer.headers.get_list("www-authenticate")
            await answer.discard()
            again = await self._authorize(ask, challenges, authorization)
            if ask.stream is not None:
                # Half of it may be gone. The next try begins with the token that was fetched here.
                raise OriginUnreachableError(self.name, f"{ask} met the end of a token, and begins anew")
            answer = await self._dial(ask.method, url, _with(ask.headers, again), ask.body)
            authorization = again
        if answer.status == 401:
            await answer.discard()
            raise await self._denied(ask, "the upstream does not take the token that it sent us for")
        return answer

    async def _foresee(self, ask: Ask) -> str:
        """The Authorization that the upstream will want, by what it wanted before; "" if unknown."""
        if self._basic:
            found = (await self._credentials.get()).credential
            return found.basic if found is not None and found.username else ""
        if self._realm is None:
            return ""
        realm, service = self._realm
        found = (await self._credentials.get()).credential
        return f"Bearer {await self._tokens.get(Want(realm, service, ask.wanted_scope, found))}"

    async def _authorize(self, ask: Ask, headers: list[str], refused: str) -> str:
        """Answer a challenge."""
        challenge = choose(parse_challenges(headers))
        if challenge is None:
            raise await self._denied(ask, "the upstream wants authentication of a kind that we don't know")
        found = (await self._credentials.get()).credential
        if challenge.scheme == "basic":
            if found is None or not found.username or found.identity_token:
                raise await self._denied(ask, "the upstream wants a user name and a password")
            if refused == found.basic:
                raise await self._denied(ask, f"the upstream refuses the password of user {found.username}")
            self._basic = True
            return found.basic
        fault = realm_refusal(challenge.realm, self._base, self.settings.token_hosts)
        if fault:
            host = urlsplit(challenge.realm).hostname or ""
            raise OriginDeniedError(
                self.name,
                f"{fault}; no credentials are sent there",
                f'If it is right, set upstreams.{self.name}.token_hosts = ["{host}"]',
            )
        scope = challenge.scope
        if covers(ask.wanted_scope, scope):
            scope = ask.wanted_scope
            self._realm = challenge.realm, challenge.service
        want = Want(challenge.realm, challenge.service, scope, found)
        token = await self._tokens.get(want, refused=refused.removeprefix("Bearer "))
        return f"Bearer {token}"

    async def _denied(self, ask: Ask, cause: str) -> OriginDeniedError:
        lookup = await self._credentials.get()
        because = "".join(f"; {problem}" for problem in lookup.problems)
        if lookup.credential is None and not because:
            because = "; no credentials for it were found"
        return OriginDeniedError(
            self.name,
            f"{ask}: {cause}{because}",
            f"Log in on this host as the node's user (docker login {urlsplit(self._base).netloc}),"
            f" or set upstreams.{self.name}.username and .password",
        )

    async def _judge(self, ask: Ask, answer: Answer) -> Answer:
        retry_after = parse_retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
        if answer.status == 429 or answer.status >= 500:
            self._limit(answer.status, retry_after)
        else:
            self.breaker.succeeded()
        if answer.status in ask.ok:
            return answer
        said = _message(await answer.discard())
        raise status_failure(self.name, answer.status, str(ask), said, retry_after)

    def _limit(self, status: int, retry_after: float | None) -> None:
        if status == 429 and retry_after is None:
            retry_after = DEFAULT_RETRY_AFTER
        self.breaker.failed(trio.current_time(), retry_after, at_once=status == 429)

    async def _ask_realm(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> RealmAnswer:
        answer = await self._dial(method, url, headers, body)
        retry_after = parse_retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
        if answer.status == 429 or answer.status >= 500:
            self._limit(answer.status, retry_after)
        return RealmAnswer(answer.status, await answer.read(MAX_ANSWER, "a token answer"), retry_after)

    async def _dial(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | AsyncIterator[bytes] = b""
    ) -> Answer:
        try:
            target = httpx.URL(url)
            # The URL was vetted as urllib reads it; it is dialled as httpx does. They must agree.
            port = target.port or {"http": 80, "https": 443}.get(target.scheme)
            if (target.scheme, target.raw_host.decode("ascii").rstrip("."), port) != origin_of(url):
                raise OriginProtocolError(self.name, "a URL that two readers understand differently")
            request = httpx.Request(
                method,
                target,
                headers={**self._headers, **headers},
                content=body if isinstance(body, bytes) else b"",
                extensions=self._extensions,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise OriginProtocolError(self.name, f"{method} of a URL that can't be read ({error})") from error
        if not isinstance(body, bytes):
            request.stream = Outgoing(body)
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise transport_failure(self.name, url, error) from error
        return Answer(self.name, url, response)


def _with(headers: Mapping[str, str], authorization: str) -> dict[str, str]:
    return {**headers, "Authorization": authorization} if authorization else dict(headers)


def _message(body: str) -> str:
    """The first message of an OCI error body, printable and short; "" if it is none."""
    try:
        message = json.loads(body)["errors"][0]["message"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return "".join(c if c.isprintable() else " " for c in str(message))[:200]
