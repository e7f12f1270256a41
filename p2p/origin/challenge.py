"""Challenges of a registry (WWW-Authenticate, RFC 9110 §11.6.1) and whom to trust with an answer.

A registry names the realm that hands out its tokens, so a registry decides where credentials go. That is
how CVE-2020-15157 and CVE-2026-33540 stole them; here the realm must belong to the upstream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from p2p.origin.addresses import literal

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEADER: Final = 8192
"""A longer header is no challenge that we answer."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (RFC 9110's grammar rule of that name, no secret)
_SCHEME: Final = re.compile(rf"[\s,]*({_TOKEN})(?=[\s,]|$)")
_PARAMETER: Final = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_TOKEN68: Final = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_ESCAPE: Final = re.compile(r"\\(.)")

_SHARED_SUFFIXES: Final = frozenset(
    {
        "amazonaws.com", "appspot.com", "aliyuncs.com", "azurecr.cn", "azurecr.io", "azurecr.us",
        "azurewebsites.net", "azureedge.net", "backblazeb2.com", "blogspot.com", "cloudapp.net",
        "cloudfront.net", "core.windows.net", "digitaloceanspaces.com", "duckdns.org", "eu.org", "fly.dev",
        "github.io", "gitlab.io", "googleapis.com", "herokuapp.com", "jfrog.io", "myhuaweicloud.com",
        "netlify.app", "ngrok.app", "ngrok.io", "nip.io", "on.aws", "pages.dev", "pkg.dev", "r2.dev",
        "run.app", "sslip.io", "trycloudflare.com", "vercel.app", "windows.net", "workers.dev",
    }
)  # fmt: skip
"""Well-known suffixes under which strangers rent names: two of their hosts share nothing but a landlord."""

_SECOND_LEVEL: Final = frozenset(
    {"ac", "ad", "co", "com", "edu", "go", "gob", "gov", "govt", "gv", "mil", "ne", "net", "nom", "or", "org"}
)
"""Labels that, before a country's, are a registry's own (co.uk, com.au, or.jp)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge. ``scheme`` lower-case ("bearer", "basic", …); of the rest what was given, else ""."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all challenges of all WWW-Authenticate headers, in order; what can't be read ends its header."""
    found: list[Challenge] = []
    for header in headers:
        if len(header) <= MAX_HEADER:
            found.extend(_parse_one(header))
    return tuple(found)


def _parse_one(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    at = 0
    while at < len(header) and (scheme := _SCHEME.match(header, at)):
        at = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            name, quoted, plain = parameter.groups()
            # The first of two equal names counts: a proxy that appended one must not win.
            parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPE.sub(r"\1", quoted))
            at = parameter.end()
        if not parameters and (other := _TOKEN68.match(header, at)):
            at = other.end()  # "Negotiate <base64>" and its like
        found.append(
            Challenge(
                scheme.group(1).lower(),
                _printable(parameters.get("realm", "")),
                _printable(parameters.get("service", "")),
                _printable(parameters.get("scope", "")),
            )
        )
    return found


def _printable(text: str) -> str:
    return text if text.isprintable() else ""


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge to answer: Bearer with a realm before Basic, else None."""
    listed = tuple(challenges)
    for challenge in listed:
        if challenge.scheme == "bearer" and challenge.realm:
            return challenge
    return next((challenge for challenge in listed if challenge.scheme == "basic"), None)


def covers(scope: str, asked: str) -> bool:
    """Whether a token for ``scope`` allows all that a challenge ``asked`` for, in any order."""
    ours = _actions(scope)
    return all(actions <= ours.get(thing, frozenset()) for thing, actions in _actions(asked).items())


def _actions(scope: str) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for part in scope.split():
        thing, _, actions = part.rpartition(":")
        found[thing] = found.get(thing, frozenset()) | frozenset(actions.split(","))
    return found


def realm_refusal(realm: str, upstream_url: str, token_hosts: Iterable[str] = ()) -> str:
    """Why a token realm is not trusted, as the cause of an error; "" if it is.

    Trusted: the upstream's own host (any port), a host of the same registrable domain, a host of
    ``token_hosts`` (the operator's word). HTTPS is a must where the upstream speaks it.
    """
    upstream = urlsplit(upstream_url)
    try:
        parts = urlsplit(realm)
        host, port = _host(parts), parts.port
    except ValueError:
        return "its token realm is not a URL"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return "its token realm is not an http(s) URL"
    if parts.username is not None or parts.password is not None:
        return "its token realm carries a user name"
    if parts.scheme != "https" and upstream.scheme == "https":
        return f"its token realm {host} is not https"
    if host in {name.lower().rstrip(".") for name in token_hosts}:
        return ""
    if same_domain(host, _host(upstream)):
        return ""
    return f"its token realm is on another domain, {host}"


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


def same_domain(one: str, other: str) -> bool:
    """Whether two hosts are the same, or of one registrable domain as far as a careful rule can tell.

    Without the public suffix list: the last two labels agree, neither host is an address, and these two
    labels are neither a country's second level (co.uk: then three must agree) nor a suffix whose names are
    rented to strangers. Where the rule is too strict ``token_hosts`` helps; where it were too lax nothing
    would.
    """
    if one == other:
        return bool(one)
    if literal(one) is not None or literal(other) is not None:
        return False
    ours, theirs = one.split("."), other.split(".")
    count = 2
    if len(ours[-1]) == 2 and len(ours) > 1 and ours[-2] in _SECOND_LEVEL:
        count = 3
    if len(ours) < count or len(theirs) < count or ours[-count:] != theirs[-count:]:
        return False
    if not all(ours[-count:]):
        return False
    suffixes = {".".join(ours[-depth:]) for depth in (2, 3, 4)}
    return not suffixes & _SHARED_SUFFIXES
