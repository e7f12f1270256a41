"""What carries a connection's bytes: the base of plain sockets and of streams."""

from __future__ import annotations

import abc
import contextlib
from typing import TYPE_CHECKING

import trio

from p2p.errors import LocalError
from p2p.net.errors import BrokenBodyError, ClientGoneError, SlowClientError

if TYPE_CHECKING:
    from p2p.net.message import FileSpan

RECEIVE_BYTES = 64 * 1024
LINGER_SECONDS = 1.0
LINGER_BYTES = 256 * 1024


class Transport(abc.ABC):
    """One client's connection.

    ``receive`` and the sending methods may run at the same time, two of one kind may not. All raise
    ClientGoneError when the client is gone and SlowClientError when it takes less than ``rate`` bytes a
    second, or nothing in ``timeout`` seconds; the connection is then unusable. ``peer`` is the client's
    address as text.
    """

    def __init__(self, *, peer: str, timeout: float, rate: int) -> None:
        self.peer = peer
        self._timeout = timeout
        self._rate = rate

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """Wait for bytes; empty at the end of the stream."""

    @abc.abstractmethod
    async def send(self, data: bytes, *, more: bool = False) -> None:
        """Send all of it. ``more``: another send follows at once, the two may share a packet."""

    @abc.abstractmethod
    async def send_file(self, span: FileSpan) -> None:
        """Send a part of a file; raises BrokenBodyError if the file is shorter."""

    def flush(self) -> None:  # noqa: B027 - to hold nothing back is a fine way to send
        """Let go of bytes that a ``send`` with ``more`` held back."""

    def hung_up(self) -> bool:
        """Whether the client is known to have closed its side, without reading."""
        return False

    @abc.abstractmethod
    def stream(self) -> trio.abc.Stream:
        """Give the connection away as a stream; the caller owns it from here, the transport is done."""

    async def linger(self) -> None:
        """Say that no more will be sent, and read on a little while, so that the client gets the answer.

        Closing a TCP connection with unread bytes resets it, and the reset destroys what the client has
        not read yet.
        """
        with trio.move_on_after(LINGER_SECONDS), contextlib.suppress(ClientGoneError):
            await self.send_eof()
            received = 0
            while received < LINGER_BYTES and (data := await self.receive()):
                received += len(data)

    @abc.abstractmethod
    async def send_eof(self) -> None:
        """Say that no more will be sent, where the transport can."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close, without waiting; does nothing the second time."""

    async def abort(self) -> None:
        """Close and drop what the client has not taken yet."""
        await self.close()

    def gone(self) -> ClientGoneError:
        """Describe a client that left."""
        return ClientGoneError(f"client {self.peer}", "closed the connection")

    def slow(self) -> SlowClientError:
        """Describe a client that we left."""
        cause = f"moved nothing for {self._timeout:g} s, or less than {self._rate} bytes a second"
        return SlowClientError(f"client {self.peer}", cause)


def too_short(span: FileSpan) -> BrokenBodyError:
    """Describe a file that ends before its span."""
    cause = f"ends before byte {span.offset + span.length}"
    return BrokenBodyError(f"file of descriptor {span.fd}", cause, "Something else changed the file")


def unreadable(span: FileSpan, error: OSError) -> LocalError:
    """Describe a file that can't be read."""
    return LocalError(f"file of descriptor {span.fd}", f"can't be read: {error}", "Check the disk")
