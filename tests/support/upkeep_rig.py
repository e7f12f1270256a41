"""The upkeep of a node whose front end is a ``Push``, and an admin socket that offers it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from structlog.testing import capture_logs

from p2p.cli.admin import socket_path
from p2p.config import ScrubSettings
from p2p.net.listeners import open_listeners
from p2p.net.server import Server, serve
from p2p.node.admin import admin_handler
from p2p.node.upkeep import Upkeep, tell_bad
from p2p.store.scrubber import Scrubber

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.core.oci.digest import Digest
    from p2p.node.admin import Status
    from tests.support.push_rig import Push


def upkeep_of(push: Push) -> Upkeep:
    """Its collection, and a scrubber that does nothing by itself."""
    scrubber = Scrubber(push.store, ScrubSettings(period=0), on_bad=tell_bad)
    return Upkeep(intake=push.hosted.intake, scrubber=scrubber, store=push.store)


@asynccontextmanager
async def admin_socket(state: Path, push: Push) -> AsyncIterator[Server]:
    """Serve it as a node with this state directory does."""

    async def explain(digest: Digest) -> Mapping[str, object]:
        await trio.lowlevel.checkpoint()
        return {"digest": str(digest)}

    def status() -> Status:
        raise AssertionError("nobody asks")

    # A node logs in its own process; here it would do so to the output of the command under test.
    with capture_logs():
        async with trio.open_nursery() as nursery:
            listeners = await open_listeners(f"unix:{socket_path(str(state))}")
            handler = admin_handler(status, explain, upkeep_of(push))
            server: Server = await nursery.start(serve, handler, listeners)
            yield server
            nursery.cancel_scope.cancel()


def lines_of(data: bytes) -> list[Any]:
    """What an answer tells, without its head."""
    body = data.partition(b"\r\n\r\n")[2]
    return [json.loads(line) for line in body.splitlines() if line]


def corrupt(push: Push, digest: Digest) -> None:
    """Change the first byte of a stored blob."""
    with push.store.open(digest) as fd:
        os.pwrite(fd, bytes([os.pread(fd, 1, 0)[0] ^ 1]), 0)
