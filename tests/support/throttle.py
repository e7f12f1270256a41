"""A TCP relay with one rate for all its connections: it makes the origin slow, so that a pull has a middle.

It runs on threads inside the test's process; the rate can be changed while bytes flow.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

_STEP = 256 * 1024


class Throttle:
    """Relay ``address`` to ``target`` (both ``127.0.0.1:PORT``) at ``rate`` bytes a second, 0 for no limit.

    A context manager. ``sent`` counts the bytes that went back to clients. ``cut`` drops all connections
    and refuses new ones, as a dead origin does.
    """

    def __init__(self, target: str, *, rate: int = 0) -> None:
        self._target = _pair(target)
        self.rate = rate
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._next = time.perf_counter()
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Drop every connection and accept no more."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        # A small buffer: what waits here has left the origin and not reached the node.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STEP)
        with self._lock:
            self._open |= {client, server}
        up = threading.Thread(target=self._pump, args=(client, server), daemon=True)
        up.start()
        self._pump(server, client, counted=True)
        up.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, *, counted: bool = False) -> None:
        buffer = memoryview(bytearray(_STEP))
        with contextlib.suppress(OSError):
            while length := source.recv_into(buffer):
                if counted:
                    self._pace(length)
                sink.sendall(buffer[:length])
        for end, way in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(way)

    def _pace(self, length: int) -> None:
        with self._lock:
            self.sent += length
            now = time.perf_counter()
            self._next = max(self._next, now) + (length / self.rate if self.rate else 0)
            pause = self._next - now
        if pause > 0:
            self._closed.wait(pause)


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
