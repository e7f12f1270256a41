"""Redirects, followed by hand: each hop is vetted before a byte goes there."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

MAX_HOPS: Final = 5
STATUSES: Final = frozenset({301, 302, 303, 307, 308})

_PORTS: Final = {"http": 80, "https": 443}


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host (lower-case) and port of a URL: what credentials are bound to; else ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{parts.scheme or 'no'} scheme or no host")
    port = parts.port if parts.port is not None else _PORTS[parts.scheme]
    if port == 0:
        raise ValueError("port 0")
    return parts.scheme, parts.hostname.rstrip("."), port


def next_hop(url: str, location: str | None, upstream_url: str) -> tuple[str, str]:
    """Resolve a redirect's Location: (url, "") if it may be followed, else ("", the cause of an error).

    https never becomes http unless the upstream itself speaks http; no user name, no control characters,
    no scheme but these two. The address behind the name is checked where the connection is made.
    """
    if not location or len(location) > 16384 or not location.isprintable():
        return "", "redirects to nowhere"
    try:
        target = urljoin(url, location)
        scheme, host, _ = origin_of(target)
        parts = urlsplit(target)
    except ValueError:
        return "", "redirects to something that is not an http(s) URL"
    if parts.username is not None or parts.password is not None:
        return "", f"redirects to {host} with a user name in the URL"
    if scheme == "http" and urlsplit(upstream_url).scheme != "http":
        return "", f"redirects from https to plain http at {host}"
    return target, ""


def carries_credentials(url: str, upstream_url: str) -> bool:
    """Whether a hop is the upstream itself: same scheme, host and port (CVE-2020-15157)."""
    return origin_of(url) == origin_of(upstream_url)
