"""An authenticator: API keys from a file, given as passwords (``docker login`` with any user name).

The file has a line ``name sha256-of-the-key`` for each key. Long random keys need no slow hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2p.errors import ConfigError
from p2p.registry.auth.api import Principal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from p2p.node.plugins import PluginContext


class ApiKeys:
    """``Authenticator`` by the hash of a key; looking a hash up tells nothing of the key by its time."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)

    async def authenticate(self, authorization: str) -> Principal | None:
        """Say whose key this is."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            _, _, key = base64.b64decode(encoded, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return None
        name = self._names.get(hashlib.sha256(key).hexdigest())
        return None if name is None else Principal(name)

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        """Ask for a password."""
        del scope, error
        return ('Basic realm="remora", charset="UTF-8"',)


@asynccontextmanager
async def open_api_keys(context: PluginContext) -> AsyncIterator[ApiKeys]:
    """Read the file: the entry point ``api-keys`` of ``remora.authenticators``; option ``file``."""
    path = context.option("file")
    try:
        lines = (await trio.Path(path).read_text()).splitlines()
    except OSError as error:
        raise ConfigError(f"API keys {path!r}", f"can't be read: {error.strerror}", "Set file=…") from error
    yield ApiKeys({digest: name for name, digest in (line.split() for line in lines if line.strip())})
