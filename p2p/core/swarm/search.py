"""Asks discovery for peers and for the lease, and goes to the origin when all others had time enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2p.core.swarm import actions as act
from p2p.core.swarm.patience import STALL

if TYPE_CHECKING:
    from p2p.core.swarm.swarm import Swarm

LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether a swarm starves; it does where two in a row say so."""

LONG: Final = 5.0
"""A swarm that is through in so many seconds is not slow, whatever it could be."""

IDLE_SHARE: Final = 0.25
"""A swarm starves that gets no more than this share of what a peer was seen to send alone."""

FEW: Final = 4
"""Missing chunks that peers without the whole blob have, up to which they wait for those that have it."""


class Search:
    """One swarm's questions to discovery. ``due``: when the next one is, as of the end of the last event."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._look_at = 0.0
        self._thin = False
        self._named: frozenset[str] = frozenset()
        """Who was named last for claiming everything."""
        self.due: float | None = None

    def start(self, now: float) -> None:
        """Ask for the first time."""
        self._look_at = now + LOOK_EVERY
        self._ask(now, starves=False)
        self.due = self._at()

    def settle(self, now: float) -> None:
        """After an event: ask again, or lose patience, if it is time."""
        at = self._at()
        if at is not None and now >= at:
            self._ask_or_claim(now)
            at = self._at()
        self.due = at

    def _at(self) -> float | None:
        swarm = self._swarm
        if swarm.turn.busy or swarm.requests.origin or swarm.requests.held:
            return None
        return min(self._patience_at(), self._look_at)

    def _ask(self, now: float, *, starves: bool) -> None:
        swarm = self._swarm
        failed = swarm.members.unreachable(now)
        self._named = frozenset()
        if starves and swarm.turn.possible:
            self._named = swarm.members.claimants(now - STALL)
            failed |= self._named  # for their sake a tracker would keep the origin back
        swarm.turn.starves = bool(self._named)
        swarm.patience.sought = now
        swarm.emit(act.Seek(swarm.turn.possible, failed))

    def _ask_or_claim(self, now: float) -> None:
        if now >= self._patience_at():
            self._lose_patience(now)
        if now >= self._look_at and not self._swarm.over:
            self._look_at = now + LOOK_EVERY
            thin, self._thin = self._thin, self._starves()
            starves = (thin and self._thin) or self._swarm.patience.stalled(now)
            if starves and self._unnamed(now):
                self._ask(now, starves=True)

    def _patience_at(self) -> float:
        swarm = self._swarm
        return swarm.patience.due(alone=not swarm.peers and not swarm.turn.held_elsewhere)

    def _lose_patience(self, now: float) -> None:
        swarm = self._swarm
        if swarm.patience.over(now) and self._streamed():
            swarm.patience.held = True
        if not swarm.patience.over(now):
            if stalled := swarm.patience.stalled(now):
                swarm.dispute.stuck(now)
            self._ask(now, starves=stalled)
            return
        swarm.patience.progress = now
        if swarm.turn.possible:
            swarm.turn.claim(now)
            swarm.turn.take(swarm, now)
        elif not swarm.requests.pending:
            swarm.nobody()

    def _unnamed(self, now: float) -> bool:
        """Whether others claim everything too than those who were named: they may have been linked late."""
        swarm = self._swarm
        if not swarm.turn.possible or swarm.turn.granted:
            return False
        return bool(swarm.members.claimants(now - STALL) - self._named)

    def _streamed(self) -> bool:
        """Whether a tracker says that another node streams it, and somebody is linked that it may come from.

        On slow links a crowd's first chunks take longer than patience lasts, to those who are last.
        """
        swarm = self._swarm
        held = swarm.turn.held_elsewhere and swarm.members.guided
        return held and any(peer.have is not None for peer in swarm.peers.values())

    def _starves(self) -> bool:
        """Whether all wait for a few that have the whole blob and give little of it.

        Then peers that gather it have nothing that is missing here, and send what they get much faster than
        it comes. Where it comes over a thin uplink from another zone that is as it must be.
        """
        swarm, turn = self._swarm, self._swarm.turn
        if not turn.possible or turn.granted or turn.held_elsewhere or swarm.have is None:
            return False
        assert swarm.layout is not None
        offered, fastest, left = 0, 0.0, swarm.have.count - len(swarm.have)
        for peer in swarm.peers.values():
            if peer.far:
                return False
            if not peer.complete:
                offered |= swarm.offered_by(peer)
                fastest = max(fastest, peer.rate)
        return (
            (offered & ~swarm.have.bits).bit_count() <= FEW
            and 0 < swarm.flow.rate <= IDLE_SHARE * fastest
            and left * swarm.layout.chunk > LONG * swarm.flow.rate
        )
