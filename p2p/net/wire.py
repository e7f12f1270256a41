"""One HTTP/1.1 connection's protocol state over its transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from p2p.net.transport import Transport


class Wire:
    """h11's reading half, fed from a transport, one request at a time.

    h11 parses; answers are rendered by ``answers``, for which h11's own state machine of both halves
    would cost three times as much as the parsing. So every request gets a new h11 connection, which takes
    over what was received and not yet parsed. ``recording`` joins everything received since ``renew``: a
    connection that is given away replays it. ``eof`` tells that the client has closed its side.
    """

    def __init__(self, transport: Transport, *, header_bytes: int) -> None:
        self.transport = transport
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=header_bytes)
        self.eof = False
        self._header_bytes = header_bytes
        self._record: list[bytes] | None = []

    async def receive(self) -> bytes:
        """Wait for bytes and take them in; empty at the end."""
        data = await self.transport.receive()
        if data:
            if self._record is not None:
                self._record.append(data)
        else:
            self.eof = True
        self.h11.receive_data(data)
        return data

    def renew(self) -> bool:
        """Make ready for the next request; whether some of it was received already."""
        left_over = self.left_over()
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=self._header_bytes)
        self._record = []
        if left_over:
            self._record.append(left_over)
            self.h11.receive_data(left_over)
        if self.eof:
            self.h11.receive_data(b"")
        return bool(left_over) or self.eof

    @property
    def recorded(self) -> bool:
        """Whether the recording is complete."""
        return self._record is not None

    def recording(self) -> bytes:
        """Give what was received since ``renew``."""
        assert self._record is not None, "the recording was dropped when the body was read"
        return self._record[0] if len(self._record) == 1 else b"".join(self._record)

    def stop_recording(self) -> None:
        """Drop the recording: the body is being read, and may be large."""
        self._record = None

    def left_over(self) -> bytes:
        """Give what was received and not yet parsed."""
        return self.h11.trailing_data[0]
