"""Listening sockets: TCP by ``host:port``, Unix by ``unix:path``."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import trio

from p2p.errors import ConfigError, LocalError, PortInUseError

BACKLOG = 1024
UNIX_PREFIX = "unix:"


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening, non-blocking socket.

    ``address`` is where: ``127.0.0.1:5000``, ``[::1]:5000`` or ``unix:/run/remora/admin.sock``, with the
    port that was chosen where 0 was asked for. ``close`` is its owner's; ``serve`` becomes the owner.
    """

    socket: socket.socket
    address: str
    path: Path | None = None
    inode: int = 0

    @property
    def port(self) -> int:
        """The port, 0 for a Unix socket."""
        return 0 if self.path is not None else int(self.socket.getsockname()[1])

    def close(self) -> None:
        """Stop listening, and remove the file of a Unix socket if it is still ours."""
        if self.socket.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self.socket)
        self.socket.close()
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                if self.path.lstat().st_ino == self.inode:
                    self.path.unlink()


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[::1]:port``; raises ConfigError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    valid = colon and host and port.isascii() and port.isdecimal() and int(port[:6]) <= 65535
    if not valid or len(port) > 5 or (":" in host and not bracketed):
        raise ConfigError(
            f"address {address!r}",
            "is not of the form host:port",
            'Write "127.0.0.1:5000", or "[::1]:5000" for IPv6; port 0 takes a free one',
        )
    return (host[1:-1] if bracketed else host), int(port)


def format_address(host: str, port: int) -> str:
    """Join ``host:port``, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def open_listeners(address: str, *, backlog: int = BACKLOG) -> tuple[Listener, ...]:
    """Listen on ``host:port`` (each address of the host, all on one port) or ``unix:path`` (mode 0600).

    Raises ConfigError for an address that means nothing, PortInUseError where somebody listens already,
    LocalError where the system refuses.
    """
    if address.startswith(UNIX_PREFIX):
        return (_listen_unix(Path(address.removeprefix(UNIX_PREFIX)), backlog),)
    host, port = split_address(address)
    listeners: list[Listener] = []
    try:
        for family, sockaddr in await _resolve(address, host, port):
            listeners.append(_listen_tcp(family, (sockaddr[0], port, *sockaddr[2:]), backlog))
            port = listeners[0].port  # 0 was asked: the second family gets what the first one got
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return tuple(listeners)


async def _resolve(
    address: str, host: str, port: int
) -> list[tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]]:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"address {address!r}", f"the host is unknown: {error.strerror}", "Give an address of this host"
        ) from error
    return list({(family, sockaddr): None for family, _, _, _, sockaddr in found})


def _listen_tcp(
    family: socket.AddressFamily, sockaddr: tuple[str | int | bytes, ...], backlog: int
) -> Listener:
    name = format_address(str(sockaddr[0]), int(sockaddr[1]))
    sock: socket.socket | None = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _refused(name, int(sockaddr[1]), error) from error
    host, port = sock.getsockname()[:2]
    return Listener(sock, format_address(host, port))


def _listen_unix(path: Path, backlog: int) -> Listener:
    name = f"socket {path}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _remove_stale(path)
        sock.bind(os.fspath(path))
        path.chmod(0o600)  # before listen(): nobody can connect in between
        sock.listen(backlog)
        return Listener(sock, f"{UNIX_PREFIX}{path}", path, path.lstat().st_ino)
    except OSError as error:
        sock.close()
        if error.errno is None:  # Python's own check: "AF_UNIX path too long"
            raise ConfigError(name, str(error), "Choose a shorter path, below 108 bytes") from error
        raise _refused(name, 0, error) from error
    except BaseException:
        sock.close()
        raise


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on; anything else in the way is an error."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LocalError(f"socket {path}", "a file that is not a socket is in the way", "Move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # somebody listens, and has a full backlog
    raise PortInUseError(
        f"socket {path}", "another process listens there", "Stop it, or choose another state directory"
    )


def _refused(name: str, port: int, error: OSError) -> LocalError:
    match error.errno:
        case errno.EADDRINUSE:
            mend = (
                f"Stop it (`ss -ltnp 'sport = :{port}'` names it), or choose another port; 0 takes a free one"
            )
            return PortInUseError(f"address {name}", "another process listens there", mend)
        case errno.EADDRNOTAVAIL:
            return LocalError(f"address {name}", "is not an address of this host", "Choose one of its own")
        case errno.EACCES | errno.EPERM:
            mend = "Choose a port from 1024 up, or a place that you may write to"
            return LocalError(f"address {name}", "this user may not listen there", mend)
        case _:
            return LocalError(f"address {name}", f"can't listen there: {error.strerror}")
