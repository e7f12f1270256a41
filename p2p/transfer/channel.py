"""The messages of one link over its WebSocket: each by itself at first, then as many together as there are.

What a WebSocket message costs is nearly the same for one message of ours and for ten: a frame, a write, a
segment, a wake of its reader. On slow links with many peers it is most of what a chunk costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2p.core.wire.codec import PEER, WireError, encode, together

if TYPE_CHECKING:
    import trio_websocket
    from msgspec import Struct

    from p2p.core.wire.peer import PeerMessage

SEND_BYTES: Final = 32 * 1024
"""So much goes out at once, whatever else there is to say: far below the bounds of one message."""


class Channel:
    """One end of a link. ``together``: both ends said in their hellos that they take several at once.

    One task puts and flushes, one receives. All raise ``trio_websocket.ConnectionClosed`` when the connection
    ended, and ``WireError`` at what is no message.
    """

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.together = False
        self._websocket = websocket
        self._waiting: list[bytes] = []
        self._bytes = 0

    @property
    def remote(self) -> str:
        """The other end's address, for people."""
        return str(self._websocket.remote)

    async def put(self, message: Struct) -> None:
        """Have a message go out, with the next flush at the latest."""
        data = encode(message)
        if not self.together:
            await self._websocket.send_message(data)
            return
        self._waiting.append(data)
        self._bytes += len(data)
        if self._bytes >= SEND_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Send all that waits."""
        if self._waiting:
            data = together(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            await self._websocket.send_message(data)

    async def receive(self) -> list[PeerMessage]:
        """Wait for the next ones."""
        data = await self._websocket.get_message()
        if isinstance(data, str):
            raise WireError("message", "text where msgpack bytes belong")
        return PEER.decode_all(data) if self.together else [PEER.decode(data)]

    async def ping(self) -> None:
        """Ask whether the other end is there, and wait for its answer."""
        await self._websocket.ping()

    async def aclose(self) -> None:
        """Say goodbye, and wait for the other's."""
        await self._websocket.aclose()
