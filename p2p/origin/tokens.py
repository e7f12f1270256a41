"""Bearer tokens: fetched at a realm, kept until shortly before they end, one fetch for all who wait.

Source: the distribution project's token specification (GET with Basic or nothing) and its OAuth2 form
(POST with ``grant_type=refresh_token``, for identity tokens).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
import trio

from p2p.errors import OriginDeniedError, OriginError, OriginProtocolError
from p2p.origin.failures import status_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from p2p.origin.credentials import Credential

DEFAULT_LIFETIME: Final = 60.0
"""Seconds that a token lives whose answer does not say (the specification's default)."""
LONGEST_LIFETIME: Final = 3600.0
MARGIN: Final = 10.0
"""Seconds before its end when a token is no longer used; a quarter of the life of short ones."""
MAX_TOKENS: Final = 1024
MAX_ANSWER: Final = 1 << 20
"""Longest answer of a realm that is read, in bytes."""
_MAX_TOKEN: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Want:
    """What a token is for: the cache's key."""

    realm: str
    service: str
    scope: str
    credential: Credential | None = None


@dataclass(frozen=True, slots=True)
class RealmAnswer:
    """What a realm answered."""

    status: int
    body: bytes
    retry_after: float | None = None


Ask: TypeAlias = "Callable[[str, str, Mapping[str, str], bytes], Awaitable[RealmAnswer]]"
"""``(method, url, headers, body)``; raises OriginError where there is no answer. Follows no redirect."""


class _TokenBody(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


@dataclass(slots=True)
class _Slot:
    lock: trio.Lock
    token: str = ""
    until: float = 0.0


class TokenCache:
    """Tokens of one upstream. Safe for concurrent use."""

    def __init__(self, name: str, ask: Ask) -> None:
        self._name = name
        self._ask = ask
        self._slots: OrderedDict[Want, _Slot] = OrderedDict()

    async def get(self, want: Want, *, refused: str = "") -> str:
        """Give a token, kept or fetched; ``refused`` is one that the upstream did not take.

        Raises OriginDeniedError where the realm refuses us, OriginProtocolError where it answers nonsense.
        """
        slot = self._slots.get(want)
        if slot is None:
            slot = self._slots[want] = _Slot(trio.Lock())
            self._shrink()
        self._slots.move_to_end(want)
        async with slot.lock:
            if slot.token and slot.token != refused and trio.current_time() < slot.until:
                return slot.token
            slot.token = ""
            token, lifetime = await self._fetch(want)
            slot.token = token
            slot.until = trio.current_time() + lifetime - min(MARGIN, lifetime / 4)
            return token

    def _shrink(self) -> None:
        while len(self._slots) > MAX_TOKENS:
            self._slots.popitem(last=False)  # whoever holds it goes on with it; it is just not kept

    async def _fetch(self, want: Want) -> tuple[str, float]:
        headers = {"Accept": "application/json"}
        if want.credential is not None and want.credential.identity_token:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            form = {
                "grant_type": "refresh_token",
                "refresh_token": want.credential.identity_token,
                "service": want.service,
                "scope": want.scope,
                "client_id": "remora",
            }
            answer = await self._ask("POST", want.realm, headers, urlencode(form).encode())
        else:
            if want.credential is not None:
                headers["Authorization"] = want.credential.basic
            answer = await self._ask("GET", _query(want), headers, b"")
        if answer.status != 200:
            raise self._refusal(want, answer)
        return self._read(want, answer.body)

    def _refusal(self, want: Want, answer: RealmAnswer) -> OriginError:
        host = urlsplit(want.realm).hostname or ""
        if answer.status not in (400, 401, 403):
            return status_failure(
                self._name, answer.status, f"the token request at {host}", "", answer.retry_after
            )
        who = "an anonymous client"
        if want.credential is not None:
            who = f"user {want.credential.username}" if want.credential.username else "our identity token"
        return OriginDeniedError(
            self._name,
            f"{host} gives {who} no token for {want.scope or 'this'} (status {answer.status})",
            f"Log in again (docker login) on this host, or set upstreams.{self._name}.username and .password",
        )

    def _read(self, want: Want, body: bytes) -> tuple[str, float]:
        host = urlsplit(want.realm).hostname or ""
        try:
            answer = msgspec.json.decode(body, type=_TokenBody, strict=False)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise OriginProtocolError(self._name, f"the token answer of {host} can't be read") from error
        token = answer.token or answer.access_token or ""
        if not token or len(token) > _MAX_TOKEN or not (token.isascii() and token.isprintable()):
            raise OriginProtocolError(self._name, f"the token answer of {host} has no usable token")
        lifetime = DEFAULT_LIFETIME if answer.expires_in is None else answer.expires_in
        if not lifetime > 0:
            lifetime = DEFAULT_LIFETIME
        return token, min(lifetime, LONGEST_LIFETIME)


def _query(want: Want) -> str:
    parts = urlsplit(want.realm)
    pairs = []
    if want.service:
        pairs.append(("service", want.service))
    # A challenge may list several scopes in one; the realm wants one parameter for each.
    pairs.extend(("scope", scope) for scope in want.scope.split())
    if want.credential is not None and want.credential.username:
        pairs.append(("account", want.credential.username))
    query = "&".join(part for part in (parts.query, urlencode(pairs)) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
