"""From settings to a guard.

What verifies passwords and tokens is imported where it is used: it is eleven megabytes of libraries.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from p2p.errors import ConfigError
from p2p.registry.auth.chain import ChainAuthenticator, NoAuthenticator
from p2p.registry.auth.guard import Guard
from p2p.registry.auth.rules import AccessRules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from p2p.config import AuthSettings
    from p2p.registry.auth.api import Authenticator
    from p2p.registry.auth.keys import Keys


def is_configured(settings: AuthSettings, more: Sequence[object] = ()) -> bool:
    """Whether clients are asked who they are; ``more`` are other authenticators."""
    return bool(settings.htpasswd or settings.jwks or more)


@asynccontextmanager
async def open_guard(settings: AuthSettings, more: Sequence[Authenticator] = ()) -> AsyncIterator[Guard]:
    """Make the guard that ``settings`` describe; raises ConfigError. ``more`` are asked after its own.

    Keys at a URL are fetched before it is ready. Where that fails tokens are refused until it succeeds;
    passwords and what anonymous clients may do don't wait for it.
    """
    rules = AccessRules.from_settings(settings, asked=bool(more))
    links: list[Authenticator] = []
    if settings.htpasswd:
        from p2p.registry.auth.htpasswd import HtpasswdAuthenticator

        links.append(HtpasswdAuthenticator(Path(settings.htpasswd), settings.service))
    if not settings.jwks:
        yield Guard(_joined([*links, *more]), rules)
        return
    from p2p.registry.auth.keys import FileKeys, UrlKeys

    if "://" not in settings.jwks:
        links.append(_bearer(settings, FileKeys(Path(settings.jwks))))
        yield Guard(_joined([*links, *more]), rules)
    else:
        keys = UrlKeys(settings.jwks, _trust(settings))
        try:
            links.append(_bearer(settings, keys))
            await keys.load()
            yield Guard(_joined([*links, *more]), rules)
        finally:
            await keys.aclose()


def _joined(links: Sequence[Authenticator]) -> Authenticator:
    if not links:
        return NoAuthenticator()
    return links[0] if len(links) == 1 else ChainAuthenticator(links)


def _bearer(settings: AuthSettings, keys: Keys) -> Authenticator:
    from p2p.registry.auth.bearer import BearerAuthenticator

    return BearerAuthenticator(
        keys,
        issuer=settings.issuer,
        audience=settings.audience or settings.service,
        service=settings.service,
        realm=settings.realm,
    )


def _trust(settings: AuthSettings) -> ssl.SSLContext:
    if not settings.jwks_ca_file:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=settings.jwks_ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"auth.jwks_ca_file {settings.jwks_ca_file}", f"can't be used: {error}", "Give PEM certificates"
        ) from error
