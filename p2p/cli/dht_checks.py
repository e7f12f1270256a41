"""What ``remora doctor`` says of the DHT."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from p2p.cli.checks import Finding, Verdict
from p2p.cli.validate import split_address
from p2p.discovery.dht.bootstrap import resolve
from p2p.discovery.dht.keyring import OPEN_KEY, read_keys

if TYPE_CHECKING:
    from p2p.config import NodeSettings


def check_dht(settings: NodeSettings, *, running: bool) -> Iterator[Finding]:
    """Whether it runs, under what, and whether its port can be had; ``running``: our own node may hold it."""
    ring = read_keys(settings.dht)
    if not ring:
        yield Finding(Verdict.GOOD, "dht", "not used: there is no cluster key")
        return
    if OPEN_KEY in ring:
        yield Finding(
            Verdict.NOTE,
            "dht",
            "open: whoever reaches its port can take part",
            "Make a key with `remora cluster key` and set dht.cluster_keys on all nodes",
        )
    else:
        keys = "one key" if len(ring) == 1 else "two keys, the first one seals"
        yield Finding(Verdict.GOOD, "dht", f"closed, under {keys}")
    if not settings.dht.bootstrap and not settings.tracker and not settings.peer.static:
        yield Finding(
            Verdict.NOTE,
            "dht",
            "no node is named to begin with",
            "Set dht.bootstrap, if others are there",
        )
    address = settings.dht.listen or settings.peer.listen
    reason = _can_bind(*split_address(address, "dht.listen"))
    if reason is None:
        yield Finding(Verdict.GOOD, "dht.listen", f"{address} (UDP) is free")
    elif reason == errno.EADDRINUSE and running:
        yield Finding(Verdict.GOOD, "dht.listen", f"{address} (UDP) is held, by the running node it seems")
    else:
        yield Finding(
            Verdict.BAD, "dht.listen", f"{address} (UDP): {os.strerror(reason)}", "Set dht.listen to another"
        )


async def check_bootstrap(settings: NodeSettings) -> list[Finding]:
    """Whether the names of the nodes to begin with can be resolved."""
    findings: list[Finding] = []
    for node in settings.dht.bootstrap if read_keys(settings.dht) else ():
        found = await resolve(*split_address(node, "dht.bootstrap"))
        if found:
            count = f"{len(found)} address{'es' if len(found) > 1 else ''}"
            findings.append(Finding(Verdict.GOOD, "dht.bootstrap", f"{node}: {count}"))
        else:
            findings.append(
                Finding(Verdict.BAD, "dht.bootstrap", f"{node} can't be resolved", "Check the name, and DNS")
            )
    return findings


def _can_bind(host: str, port: int) -> int | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as one:
            one.bind(address)
    except OSError as error:
        return error.errno if isinstance(error.errno, int) and error.errno > 0 else errno.EADDRNOTAVAIL
    return None
