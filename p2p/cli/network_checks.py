"""What ``remora doctor`` asks of other hosts: the trackers, and the upstreams with ``--network``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import trio

from p2p.cli.checks import Finding, Verdict
from p2p.cli.dht_checks import check_bootstrap
from p2p.cli.tracker_client import open_tracker
from p2p.config import WELL_KNOWN
from p2p.errors import TrackerError

if TYPE_CHECKING:
    from p2p.config import NodeSettings, UpstreamSettings


async def check_tracker(url: str) -> Finding:
    """Whether the tracker greets us."""
    try:
        async with open_tracker(url):
            pass
    except TrackerError as error:
        return Finding(Verdict.BAD, "tracker", f"{url}: {error.cause}", error.mend)
    return Finding(Verdict.GOOD, "tracker", f"{url} answers")


async def check_upstream(name: str, upstream: UpstreamSettings) -> Finding:
    """Whether a registry answers at ``/v2/``; asking for a login is an answer."""
    thing = f"upstream {name}"
    try:
        async with httpx.AsyncClient(timeout=upstream.connect_timeout) as http:
            response = await http.get(f"{upstream.url.rstrip('/')}/v2/")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        words = str(error) or type(error).__name__
        return Finding(
            Verdict.BAD, thing, f"{upstream.url}: {words}", "Check name resolution, proxy and firewall"
        )
    if response.status_code in (200, 401):
        return Finding(Verdict.GOOD, thing, f"{upstream.url} answers")
    return Finding(
        Verdict.BAD, thing, f"{upstream.url} answers with status {response.status_code}", "Check its url"
    )


async def check_network(settings: NodeSettings, *, upstreams: bool) -> list[Finding]:
    """Ask the trackers that there are and, if wanted, all upstreams at once."""
    findings: dict[str, Finding] = {}

    async def one(name: str, upstream: UpstreamSettings) -> None:
        findings[name] = await check_upstream(name, upstream)

    async with trio.open_nursery() as nursery:
        if upstreams:
            for name, upstream in {**WELL_KNOWN, **settings.upstreams}.items():
                nursery.start_soon(one, name, upstream)
        trackers = [await check_tracker(url) for url in settings.tracker]
    return [*await check_bootstrap(settings), *trackers, *(findings[name] for name in sorted(findings))]
