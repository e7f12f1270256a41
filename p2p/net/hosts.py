"""Virtual hosts: requests for names that are not ours are refused, and so are other sites' pages.

A web page can make a browser connect to 127.0.0.1, under a name of its own whose address it changes (DNS
rebinding) or by plain cross-site requests. What it can't do is to send another ``Host``, or to leave out
``Origin`` and ``Sec-Fetch-Site``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from p2p.core.oci.error import RegistryError, shown

if TYPE_CHECKING:
    from p2p.net.message import Handler, Request, Response

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def host_name(value: str) -> str:
    """Give the host of a ``Host`` value in lower case, without port and brackets."""
    host, colon, port = value.strip().lower().rpartition(":")
    if not colon or not (port == "" or port.isdecimal()) or (":" in host and not host.endswith("]")):
        host = value.strip().lower()
    return host.removeprefix("[").removesuffix("]").removesuffix(".")


def guard_hosts(handler: Handler, allowed: Iterable[str]) -> Handler:
    """Wrap a handler: only requests for ``allowed`` hosts reach it, on any port.

    Others get 421 (RFC 9110, 15.5.20), requests by pages of other sites 403. HTTP/1.0 clients send no
    ``Host``; no browser is one.
    """
    names = frozenset(host_name(name) for name in allowed)

    async def guarded(request: Request) -> Response:
        host = request.header(b"host")
        if host is not None and host_name(host) not in names:
            raise RegistryError(
                "DENIED",
                f"host {shown(host)} is not served here",
                status=421,
                mend="Use localhost or the listening address, or add the name to allowed_hosts",
            )
        if _is_cross_site(request, names):
            raise RegistryError("DENIED", "requests by pages of other sites are refused", status=403)
        return await handler(request)

    return guarded


def _is_cross_site(request: Request, names: frozenset[str]) -> bool:
    for key, value in request.headers:
        if key == b"sec-fetch-site" and value == b"cross-site":
            return True
        if key == b"origin":
            _, mark, origin = value.decode("latin-1").partition("://")
            if not mark or host_name(origin) not in names:
                return True
    return False
