"""Contacts over restarts: addresses in a JSON file, no more than hints, each of which is pinged again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from p2p.discovery.dht.addresses import to_endpoint, to_host

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from p2p.core.dht.contact import Endpoint

MOST: Final = 256
_BYTES: Final = 1 << 16

log = structlog.get_logger(__name__)


def load(path: Path) -> list[Endpoint]:
    """Read what ``save`` wrote, ``MOST`` at most; nothing where there is no file or it makes no sense."""
    try:
        with path.open("rb") as file:
            rows = msgspec.json.decode(file.read(_BYTES), type=list[tuple[str, int]])
        return [to_endpoint(host, port) for host, port in rows[:MOST]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        log.warning("contacts of the DHT can't be read", file=str(path), cause=str(error))
        return []


def save(path: Path, endpoints: Iterable[Endpoint]) -> None:
    """Write the first ``MOST``, all or nothing. A disk that refuses is logged: they are only hints."""
    rows = [(to_host(one.ip), one.port) for one in endpoints][:MOST]
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.encode(rows))
        fresh.replace(path)
    except OSError as error:
        log.warning("contacts of the DHT can't be written", file=str(path), cause=str(error))
