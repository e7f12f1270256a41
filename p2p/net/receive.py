"""Bytes from a socket straight into memory that is reused, with few wake-ups: how chunks come in.

A reader is woken when a good part of what it waits for is there (``SO_RCVLOWAT``), not for every segment.
"""

from __future__ import annotations

import math
import os
import socket
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.socket import SocketType

WATERMARK = 1024 * 1024
"""Bytes that wake the reader, where it waits for that many: a millisecond of a fast network."""

GLANCE = 0.5
"""Seconds after which a reader looks what has come, though it is less than wakes it."""

_LEAST = 64 * 1024
"""Fewer bytes than this are waited for at once."""

_RENEW = 0.25
"""Share of a glance after which the next one is put off; doing that at every read would cost too much."""


async def fill(
    sock: SocketType,
    view: memoryview,
    *,
    patience: float,
    latest: float = math.inf,
    flowing: Callable[[int], None] | None = None,
) -> int:
    """Receive into ``view`` until it is full or the other side ends; gives how many bytes came.

    ``flowing`` is called now and then with the bytes so far, where it takes longer. Raises trio.TooSlowError
    when nothing comes for ``patience`` seconds or the clock reaches ``latest``; OSError as the socket does.
    The socket must be trio's own, so that it does not block.
    """
    taken, mark = 0, 1
    glance = min(GLANCE, patience)
    heard = trio.current_time()
    try:
        while taken < len(view):
            wanted = _mark(len(view) - taken)
            if wanted != mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark := wanted)
            renewed = trio.current_time()
            with trio.move_on_at(min(latest, renewed + glance)) as scope:
                while taken < len(view):
                    await trio.lowlevel.wait_readable(sock.fileno())
                    received = _now(sock, view[taken:])
                    if received is None:
                        continue
                    if not received:
                        return taken
                    taken += received
                    wanted = _mark(len(view) - taken)
                    if wanted < mark:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark := wanted)
                    heard = trio.current_time()
                    if heard - renewed >= glance * _RENEW:
                        renewed = heard
                        scope.deadline = min(latest, renewed + glance)
                        if flowing is not None:
                            flowing(taken)
            if scope.cancelled_caught:
                # A slow network may have brought something, only less than wakes us.
                received, now = _now(sock, view[taken:]), trio.current_time()
                if received:
                    taken, heard = taken + received, now
                    if flowing is not None:
                        flowing(taken)
                if now >= latest or now - heard >= patience:
                    raise trio.TooSlowError(f"nothing came for {patience:g} s")
    finally:
        if mark != 1 and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return taken


def _mark(missing: int) -> int:
    """Half of what is missing at the end, so that the last bytes come in while those before are copied."""
    return WATERMARK if missing > WATERMARK else max(min(missing, _LEAST), missing // 2)


def _now(sock: SocketType, view: memoryview) -> int | None:
    """Receive what is there, without waiting; None where that is nothing, 0 at the end.

    A system call and nothing else: trio's ``recv_into`` takes two passes of its scheduler for each.
    """
    try:
        return os.readv(sock.fileno(), [view])
    except BlockingIOError:
        return None
