"""Bearer tokens that are JWTs (RFC 6750, RFC 7519, and RFC 8725 on how they are attacked)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jwt

from p2p.errors import ConfigError
from p2p.registry.auth.chain import quoted
from p2p.registry.auth.claims import principal_of

if TYPE_CHECKING:
    from p2p.registry.auth.api import Principal
    from p2p.registry.auth.keys import Keys

MAX_TOKEN: Final = 16 * 1024
"""Characters of a token; a longer one is not looked at."""

LEEWAY: Final = 10.0
"""Seconds that the clocks of issuer and node may differ."""


class BearerAuthenticator:
    """Takes tokens that ``keys`` verify, for ``audience``, from ``issuer``, and that are not expired.

    ``realm`` is the token service that clients are sent to, "" where tokens come another way.
    """

    def __init__(self, keys: Keys, *, issuer: str, audience: str, service: str, realm: str = "") -> None:
        if not issuer or not audience:
            raise ConfigError(
                "auth.issuer" if not issuer else "auth.audience",
                "is empty, and tokens for anybody or from anybody would do",
                "Give what the tokens have as iss and aud",
            )
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        realm_part = f"realm={quoted('auth.realm', realm)}," if realm else ""
        self._challenge = f"Bearer {realm_part}service={quoted('auth.service', service)}"

    async def authenticate(self, authorization: str) -> Principal | None:
        """Say for whom, or for what, a token was made out."""
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
            return None
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        if kid is not None and not isinstance(kid, str):
            return None
        found = await self._keys.find(kid)
        if found is None:
            return None
        try:
            # Less than the 90 microseconds that a thread would cost, with each of the algorithms.
            claims: dict[str, Any] = jwt.decode(
                token,
                found.key,
                algorithms=[found.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        return principal_of(claims)

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        """Ask for a token with this scope."""
        more = [f'{name}="{value}"' for name, value in (("scope", scope), ("error", error)) if value]
        return (",".join((self._challenge, *more)),)
