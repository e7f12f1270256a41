"""Who is connected: the bound on connections, and who goes first when it is reached or we stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import trio

EVICT_AFTER = 1.0
"""Seconds that a connection may stay without a request before it can be closed for a new one."""


class Member(Protocol):
    """A connection, as the roster sees it."""

    def dismiss(self) -> None:
        """Close at once."""
        ...


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """Counts. ``waiting`` connections have no request under way; ``evicted`` ones made room for others."""

    connections: int
    waiting: int
    accepted: int
    evicted: int
    requests: int


class Roster:
    """The connections of one server, at most ``limit``.

    At the limit a new connection takes the place of the one that has been without a request the longest
    (slow headers, idle keep-alive), if that is more than ``EVICT_AFTER`` seconds; if all are busy, nothing
    is accepted until one ends, and the kernel's backlog pushes back. A 503 instead would be taken by
    clients for an answer: an image runtime would give up on this node for work that it could do a
    moment later.
    """

    def __init__(self, limit: int) -> None:
        self.stopping = False
        self._limit = limit
        self._members: dict[Member, None] = {}
        self._waiting: dict[Member, float] = {}
        self._given: dict[Member, None] = {}
        self._left = trio.Event()
        self._accepted = 0
        self._evicted = 0
        self._requests = 0

    def enter(self, member: Member) -> None:
        """Count a new connection."""
        self._members[member] = None
        self._accepted += 1

    def leave(self, member: Member) -> None:
        """Forget a connection that ended."""
        self._members.pop(member, None)
        self._waiting.pop(member, None)
        self._given.pop(member, None)
        self._left.set()

    def wait(self, member: Member) -> None:
        """Note that a connection waits for a request from now on; dismissed at once if we are stopping."""
        self._waiting[member] = trio.current_time()
        if self.stopping:
            member.dismiss()

    def busy(self, member: Member) -> None:
        """Note that a connection has a request."""
        self._waiting.pop(member, None)
        self._requests += 1

    def give(self, member: Member) -> None:
        """Note that a connection speaks another protocol from now on: it has no end to wait for."""
        self._given[member] = None
        if self.stopping:
            member.dismiss()

    async def room(self) -> None:
        """Wait until one more connection may be accepted, evicting where that is fair."""
        while len(self._members) >= self._limit:
            if self._left.is_set():
                self._left = trio.Event()
            patience = EVICT_AFTER
            oldest = next(iter(self._waiting.items()), None)
            if oldest is not None:
                member, since = oldest
                patience = since + EVICT_AFTER - trio.current_time()
                if patience <= 0:
                    del self._waiting[member]
                    self._evicted += 1
                    member.dismiss()
                    patience = math.inf  # it leaves as soon as its task runs
            with trio.move_on_after(patience):
                await self._left.wait()

    def stop(self) -> None:
        """Dismiss who has no request under way, and from now on everybody after the current one."""
        self.stopping = True
        for member in (*self._waiting, *self._given):
            member.dismiss()

    def statistics(self) -> ServerStatistics:
        """Count."""
        return ServerStatistics(
            len(self._members), len(self._waiting), self._accepted, self._evicted, self._requests
        )
