"""The cluster's keys: made, written for people, read from settings, files and the environment."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2p.core.dht.sealing import KEY_BYTES, MAX_KEYS
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.config import DhtSettings

PREFIX: Final = "remora-cluster-"
"""What a written key begins with, so that it is known for one where it should not be."""

OPEN_KEY: Final = hashlib.sha256(b"remora: an open DHT, sealed for nobody").digest()
"""The key that everybody knows: under it a seal keeps out accidents, and no one else."""


def new_key() -> str:
    """Make a key, as it is written."""
    return PREFIX + secrets.token_hex(KEY_BYTES)


def parse_key(text: str, source: str) -> bytes:
    """Read one key; ConfigError, which does not repeat it, where it is none."""
    digits = text.strip().removeprefix(PREFIX)
    if len(digits) == 2 * KEY_BYTES:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            pass
    raise ConfigError(source, "it is no cluster key", "Make one with: remora cluster key")


def read_keys(settings: DhtSettings) -> tuple[bytes, ...]:
    """Give the ring: the first key seals, all open. Empty: the DHT does not run. ConfigError for bad ones."""
    keys = [parse_key(text, "dht.cluster_keys") for text in settings.cluster_keys]
    if settings.cluster_key_file:
        keys += _from_file(Path(settings.cluster_key_file))
    ring = tuple(dict.fromkeys(keys))
    if len(ring) > MAX_KEYS:
        raise ConfigError(
            "dht.cluster_keys", f"there are {len(ring)} keys", f"Keep {MAX_KEYS}: the new one and the old one"
        )
    if not settings.enabled:
        return ()
    return ring or ((OPEN_KEY,) if settings.open else ())


def _from_file(path: Path) -> Iterable[bytes]:
    source = f"dht.cluster_key_file {path}"
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise ConfigError(source, f"can't be read: {reason}", "Name a file with one key a line") from error
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [parse_key(line, source) for line in lines if line]
