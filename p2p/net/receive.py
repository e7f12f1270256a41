"""Bytes from a socket straight into memory that is reused, with few wake-ups: how chunks come in.

A reader is woken when a good part of what it waits for is there (``SO_RCVLOWAT``), not for every segment.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trio.socket import SocketType

WATERMARK = 256 * 1024
"""Bytes that wake the reader, where it waits for that many: some 100 µs of a fast network."""

_RENEW = 0.125
"""Share of the patience after which a deadline is moved; moving it at every read would cost too much."""


async def fill(sock: SocketType, view: memoryview, *, patience: float, latest: float = math.inf) -> int:
    """Receive into ``view`` until it is full or the other side ends; gives how many bytes came.

    Raises trio.TooSlowError when nothing comes for ``patience`` seconds or the clock reaches ``latest``;
    OSError as the socket does.
    """
    taken, mark = 0, 1
    try:
        while taken < len(view):
            wanted = _mark(len(view) - taken)
            if wanted != mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark := wanted)
            renewed = trio.current_time()
            with trio.move_on_at(min(latest, renewed + patience)) as scope:
                while taken < len(view):
                    received = await sock.recv_into(view[taken:])
                    if not received:
                        return taken
                    taken += received
                    wanted = _mark(len(view) - taken)
                    if wanted < mark:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark := wanted)
                    now = trio.current_time()
                    if now - renewed >= patience * _RENEW:
                        renewed = now
                        scope.deadline = min(latest, now + patience)
            if scope.cancelled_caught:
                # A slow network may have brought something, only less than wakes us.
                received = _at_once(sock, view[taken:])
                if not received or trio.current_time() >= latest:
                    raise trio.TooSlowError(f"nothing came for {patience:g} s")
                taken += received
    finally:
        if mark != 1 and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return taken


def _mark(missing: int) -> int:
    return WATERMARK if missing > WATERMARK else max(1, missing // 2)


def _at_once(sock: SocketType, view: memoryview) -> int:
    """What is there now, without waiting; 0 where there is nothing."""
    plain = socket.socket(fileno=socket.dup(sock.fileno()))
    with plain:
        try:
            return plain.recv_into(view, len(view), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
