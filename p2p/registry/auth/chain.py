"""Authenticators made of others, or of nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from p2p.errors import ConfigError
from p2p.registry.auth.api import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.registry.auth.api import Authenticator, Principal

_QUOTABLE: Final = re.compile(r"[ !#-\[\]-~]*")
BEARER: Final = "Bearer "


class NoAuthenticator:
    """Everybody is anonymous, whatever credentials they give; nobody is challenged."""

    async def authenticate(self, authorization: str) -> Principal | None:
        """Say that it is nobody in particular."""
        del authorization
        return ANONYMOUS

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        """Give none."""
        del scope, error
        return ()


class ChainAuthenticator:
    """Asks one after the other; the first that knows the client decides.

    Where one has a Bearer challenge that names a token service, only that is given: Docker obeys each
    challenge that it sees, one after the other, and fails on the first that it can't meet. Basic
    credentials that come unasked are still taken.
    """

    def __init__(self, links: Sequence[Authenticator]) -> None:
        self._links = tuple(links)

    async def authenticate(self, authorization: str) -> Principal | None:
        """Say who gave this header."""
        for link in self._links:
            principal = await link.authenticate(authorization)
            if principal is not None:
                return principal
        return None

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        """Give the challenges that a client should see."""
        every = [challenge for link in self._links for challenge in link.challenges(scope, error)]
        services = [one for one in every if one.startswith(BEARER) and "realm=" in one]
        others = [one for one in every if not one.startswith(BEARER)]
        return tuple(services or others or every)


def quoted(setting: str, value: str) -> str:
    """Quote a setting for a header; ConfigError where that can't be done plainly."""
    if _QUOTABLE.fullmatch(value) is None:
        raise ConfigError(setting, f"{value!r} can't be put into a header", "Use ASCII without quotes")
    return f'"{value}"'
