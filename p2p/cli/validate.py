"""What types can't say of the settings: addresses, URLs, ranges, and what goes together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from p2p.cli.shape import dotted
from p2p.config import WELL_KNOWN, NodeSettings, UpstreamSettings
from p2p.core.dht.contact import K
from p2p.discovery.dht.keyring import read_keys
from p2p.errors import ConfigError

_ZONE: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
LEAST_UP: Final = 256 * 1024
"""Bytes a second; peers leave a node that sends less than half of it (``p2p.transfer.fetch.SLOWEST``)."""
LEAST_DOWN: Final = 64 * 1024
"""Below it a node could hold neither the servers' patience nor its leases."""
LOG_FORMATS: Final = ("auto", "json", "console")


def split_address(text: str, setting: str) -> tuple[str, int]:
    """Take ``host:port`` (IPv6 hosts in brackets) apart; ConfigError names ``setting``."""
    host, colon, port = text.rpartition(":")
    plain = host.removeprefix("[").removesuffix("]")
    if (
        not colon
        or not host
        or not port.isascii()
        or not port.isdecimal()
        or int(port) > 65535
        or (":" in plain and plain == host)
    ):
        raise ConfigError(setting, f"{text!r} is not host:port", "Write it as 127.0.0.1:5000 or [::1]:5000")
    return plain, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this host can reach a listener there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def validate(settings: NodeSettings) -> None:
    """Raise ConfigError for the first thing that can't work."""
    for setting, address in (
        ("registry.listen", settings.registry.listen),
        ("peer.listen", settings.peer.listen),
        ("metrics.listen", settings.metrics.listen),
    ):
        split_address(address, setting)
    _check_peers(settings)
    _check_dht(settings)
    _check_numbers(settings)
    for url in settings.tracker:
        check_tracker(url)
    if not _ZONE.fullmatch(settings.zone):
        raise ConfigError("zone", f"{settings.zone!r} is no zone's name", "Write it as eu-west-1a")
    if not _ZONE.fullmatch(settings.rack):
        raise ConfigError("rack", f"{settings.rack!r} is no rack's name", "Write it as r07")
    if settings.rack and not settings.zone:
        raise ConfigError("rack", "a rack is one of a zone, and there is none", "Set zone too")
    for setting, value, allowed in (
        ("log_level", settings.log_level, LOG_LEVELS),
        ("log_format", settings.log_format, LOG_FORMATS),
    ):
        if value not in allowed:
            raise ConfigError(setting, f"there is no {value!r}", f"Choose one of {', '.join(allowed)}")
    for directory in settings.host:
        _check_layout(directory)
    for name, upstream in settings.upstreams.items():
        _check_upstream(name, upstream)
    _check_names(settings)


def check_tracker(url: str) -> None:
    """Raise ConfigError unless ``url`` is a tracker's."""
    parts = _split_url(url, "tracker")
    if parts is None or parts[0] not in ("ws", "wss"):
        raise ConfigError("tracker", f"{url!r} is not a tracker's URL", "Write it as ws://host:5010")


def _split_url(url: str, setting: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(setting, f"{url!r} is not a URL: {error}", "Check host and port") from error
    return (parts.scheme, parts.hostname) if parts.hostname else None


def _check_peers(settings: NodeSettings) -> None:
    host, _ = split_address(settings.peer.listen, "peer.listen")
    if not settings.peer.insecure and not is_loopback(host):
        raise ConfigError(
            "peer.listen",
            f"{settings.peer.listen} is open to other hosts, and peers are not authenticated",
            "On a trusted network set peer.insecure = true (--insecure); else listen on 127.0.0.1",
        )
    if settings.peer.advertise:
        split_address(settings.peer.advertise, "peer.advertise")
    for address in settings.peer.static:
        if not split_address(address, "peer.static")[1]:
            raise ConfigError("peer.static", f"{address!r} has no port", "Write the peer's port")


def _check_dht(settings: NodeSettings) -> None:
    dht = settings.dht
    if dht.listen:
        split_address(dht.listen, "dht.listen")
    for address in dht.bootstrap:
        if not split_address(address, "dht.bootstrap")[1]:
            raise ConfigError("dht.bootstrap", f"{address!r} has no port", "Write the node's peer port")
    if dht.contacts < K:
        raise ConfigError("dht.contacts", f"{dht.contacts} are too few", f"Write {K} or more")
    read_keys(dht)


def _numbers(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int | float]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _numbers(below, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _check_numbers(settings: NodeSettings) -> None:
    for path, value in _numbers(msgspec.to_builtins(settings), ()):
        if not 0 <= value < float("inf"):
            raise ConfigError(dotted(path), f"{value} is out of range", "Write a number from 0 up")
    limits = settings.limits
    for name, rate, least in (
        ("up", limits.up, LEAST_UP),
        ("down", limits.down, LEAST_DOWN),
        ("origin", limits.origin, LEAST_DOWN),
        ("prefetch", limits.prefetch, LEAST_DOWN),
    ):
        if 0 < rate < least:
            raise ConfigError(
                f"limits.{name}",
                f"{rate} bytes a second are too few to work with",
                f"Write {least // 1024}KiB/s or more, or 0 for no limit",
            )
    store = settings.store
    if not store.low_water <= store.high_water <= 1:
        raise ConfigError(
            "store.low_water",
            f"{store.low_water} and high_water {store.high_water} are not shares in order",
            "Write 0 ≤ low_water ≤ high_water ≤ 1",
        )
    if store.minimum_free >= 1:
        raise ConfigError("store.minimum_free", f"{store.minimum_free} is no share", "Write one below 1")


def _check_layout(directory: str) -> None:
    path = Path(directory)
    if not (path / "oci-layout").is_file():
        cause = (
            "it is no OCI layout (no file oci-layout in it)"
            if path.is_dir()
            else "there is no such directory"
        )
        raise ConfigError(
            f"host directory {directory}", cause, "Make one with: remora pull IMAGE --output DIR"
        )


def _check_upstream(name: str, upstream: UpstreamSettings) -> None:
    setting = dotted(("upstreams", name))
    parts = _split_url(upstream.url, setting)
    if parts is None or parts[0] not in ("http", "https"):
        raise ConfigError(
            setting, f"{upstream.url!r} is not a registry's URL", "Write https://host or http://host"
        )
    if "@" in urlsplit(upstream.url).netloc:
        raise ConfigError(setting, "its url has a user in it", "Use username and password")
    if not name or "/" in name:
        raise ConfigError(setting, f"{name!r} can't name an upstream", "Use a host's name or a short word")
    if upstream.ca_file and not Path(upstream.ca_file).is_file():
        raise ConfigError(setting, f"there is no file {upstream.ca_file}", "Check ca_file")
    if upstream.streams < 1:
        raise ConfigError(setting, "streams is 0", "Allow 1 or more")


def _check_names(settings: NodeSettings) -> None:
    owners: dict[str, str] = {}
    for name, upstream in {**WELL_KNOWN, **settings.upstreams}.items():
        for called in (name, *upstream.aliases):
            if owners.setdefault(called, name) != name:
                raise ConfigError(
                    dotted(("upstreams", name)),
                    f"{called!r} is already a name of upstream {owners[called]}",
                    "Give each upstream names of its own",
                )
    default = settings.registry.default_upstream
    if default and default not in owners:
        raise ConfigError(
            "registry.default_upstream",
            f"no upstream is called {default!r}",
            f"Known: {', '.join(sorted(owners))}",
        )
