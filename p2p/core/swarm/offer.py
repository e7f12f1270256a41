"""Who hears when of a node's new chunks: subscribers in turn, as fast as the node can serve them.

If all heard of a new chunk at once, all would ask the one node that has it, and wait in its queue while they
could have got it from each other; and most messages would bring nothing. So news are invitations: whenever
the node serves few others, the next subscriber in turn is told all that is new since it was told last.
What a node streams from the origin is told to one subscriber alone at first (super-seeding): so each chunk is
sent once before any is sent again. That goes on when the stream is over, for what nobody has heard of yet.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from p2p.core.swarm.bitfield import iter_bits

if TYPE_CHECKING:
    from p2p.core.swarm.rng import Rng

BUSY = 2
"""Others that are being served with which nobody more is invited."""

PACE = 0.002
"""Seconds between two invitations: so long until the first one's requests are seen."""

AWAITED_SHARE, AWAITED_MOST = 1 / 8, 0.1
"""Who is invited counts as being served until it asks, for a share of what answers take, at most so long.

A request takes its time, also on a link that carries other answers: who did not wait for it would invite all
meanwhile, and serve all at once and each of them late. It saves half of the messages, besides.
"""

WAIT = 1.0
"""Seconds without an invitation after which one goes out in any case: those served may be stuck."""

WAIT_USUAL, WAIT_MOST = 2.0, 8.0
"""Where answers take long, so many times as long as one usually takes, and at most so many seconds."""

ALONE = 5.0
"""Seconds after which a chunk of the origin's that one subscriber got is told to others: it may lie.

Only where nobody else is known to hold the chunk, and where nobody can be told of anything newer: on slow
links five seconds are a few chunks, and sent twice before others are sent once they cost the swarm its pace.
"""

AFTER = 1.0
"""The same when the stream is over: then nothing newer comes, and what is left goes out first in any case."""

IDLE = 0.5
"""Seconds without anybody to serve after which what was not sent yet is told to others all the same."""

LONGEST = 30.0
"""Seconds after which it is in any case."""

SLICE = 4
"""Most chunks that one subscriber alone hears of with one invitation: a backlog is shared among them."""

LOOK = 0.05
"""Seconds after which a crowd hears of what was told to one alone, where nothing is left that was not."""

WHOLE_SLICE = 2
"""The same where the backlog is the whole blob: more wait at one subscriber, fewer go out too slowly."""

FEW = 4
"""With more subscribers a node that has had the whole blob before them sends each chunk out once first."""


class Offer:
    """Which chunks of one blob each subscriber has heard of. Subscribers go by any hashable name.

    ``spread``: bits of those that others are known to hold. ``whole``: all was here before anybody came. Then
    few hear of all at once; when more come, all hear of slices, each slice one alone (super-seeding), and of
    the rest when each has gone out.
    """

    def __init__(self, rng: Rng, *, whole: bool = False) -> None:
        self.spread = 0
        self._busy = float("-inf")
        """When somebody was being served last."""
        self.whole = whole
        self._super = False
        self._seeding = False
        self._ended = False
        """Seeding has ended just now."""
        self._backlog = 0
        """What came from the origin and nobody had heard of when the stream was over."""
        self._usual = 0.0
        self._awaited: deque[float] = deque()
        """When those were invited who have not asked yet."""
        self._rng = rng
        self._told: dict[object, int] = {}
        self._turn: deque[object] = deque()
        self._last = float("-inf")
        self._first = 0
        """Chunks that somebody was told of."""
        self._alone: dict[int, tuple[float, float]] = {}
        """Those that one heard of while seeding: since when others wait, in this order; when it was told."""
        self._sent = 0
        self._hidden = 0

    def __len__(self) -> int:
        return len(self._told)

    @property
    def seeding(self) -> bool:
        """Whether the chunks that come now come from the origin."""
        return self._seeding

    @seeding.setter
    def seeding(self, on: bool) -> None:
        self._ended = not on and (self._ended or self._seeding)
        self._seeding = on

    def joined(self, subscriber: object, have: int) -> bool:
        """A subscriber came: it hears of all at once, but for what one alone hears of first.

        True where the others have to hear of less than they were told: it is one more than few.
        """
        crowd = self.whole and not self._super and len(self._told) == FEW and subscriber not in self._told
        if crowd:
            self._super = True
            self._told = dict.fromkeys(self._told, 0)
            self._backlog, self._first = have, 0
        if subscriber not in self._told:
            # Everybody's subscribers come in the same order; if all invited in that order, all would invite
            # the same few.
            self._turn.insert(self._rng.randrange(len(self._turn) + 1), subscriber)
        self._settle(have)
        known = have & self._first if self.seeding else have & ~self._backlog
        self._told[subscriber] = known & ~self._hidden
        self._first |= known
        return crowd

    def left(self, subscriber: object) -> None:
        """A subscriber is gone: what it alone was told goes to the next one."""
        lost = self._told.pop(subscriber, 0) & self._hidden
        for index in iter_bits(lost):
            self._alone.pop(index, None)
        self._first &= ~lost
        self._hidden &= ~lost

    def sent(self, chunks: range, now: float) -> None:
        """Somebody was sent these chunks: who heard of them has them now, or asks no more."""
        self._sent |= ((1 << len(chunks)) - 1) << chunks.start
        for index in chunks:
            if index in self._alone:
                _, since = self._alone.pop(index)
                self._alone[index] = now, since

    def told(self, subscriber: object) -> int:
        """Give the chunks that a subscriber has heard of."""
        return self._told.get(subscriber, 0)

    def lost(self, have: int) -> bool:
        """Only ``have`` is held now: True where somebody heard of more (a list fell)."""
        gone = False
        for name, told in self._told.items():
            if told & ~have:
                self._told[name] = told & have
                gone = True
        return gone

    def took(self, seconds: float) -> None:
        """An answer to somebody is through, after ``seconds``."""
        self._usual += (seconds - self._usual) / (8 if self._usual else 1)

    def asked(self) -> None:
        """Somebody asks who was not being served: the one that was invited first, most likely."""
        if self._awaited:
            self._awaited.popleft()

    def settled(self, have: int) -> bool:
        """Whether everybody has heard of everything."""
        return all(told == have for told in self._told.values())

    def invite(self, have: int, served: int, now: float) -> object | None:
        """Give the subscriber that is to be told now, None for nobody; ``served`` others are being served."""
        self._settle(have)
        if served:
            self._busy = now
        while self._awaited and self._awaited[0] + self._courtesy <= now:
            self._awaited.popleft()
        if now < self._next(served):
            return None
        name = self._first_in_turn(have, now)
        if name is None and self._unveil(now):
            name = self._first_in_turn(have, now)
        return name

    def _settle(self, have: int) -> None:
        """Remember at the end of the stream what is still to be told to one alone."""
        if self._ended:
            self._ended = False
            self._backlog = have & ~self._first

    def _unveil(self, now: float) -> bool:
        """Have all hear of what one alone heard of long ago and nobody else holds."""
        # What has spread is left to those who have it, and looked at again: they may go. When the stream is
        # over nobody tells us any more.
        spread = self.spread if self.seeding else 0
        # What was not sent yet is waited for while we are busy: told to all, it would be asked of us by all,
        # and go out many times before others go out once.
        busy, unveiled = now < self._busy + IDLE, 0
        for index, (waiting, since) in tuple(self._alone.items()):
            if waiting + self._patience > now:
                break
            del self._alone[index]
            unsent = not self._sent >> index & 1
            if spread >> index & 1 or (unsent and busy and now < since + LONGEST):
                self._alone[index] = now, since
            else:
                unveiled |= 1 << index
        self._hidden &= ~unveiled
        return bool(unveiled)

    def _first_in_turn(self, have: int, now: float) -> object | None:
        """Give the first in turn for whom there is news, and count it as told."""
        turn, told = self._turn, self._told
        news = have & ~self._hidden
        for _ in range(len(turn)):
            name = turn[0]
            turn.rotate(-1)
            if name not in told:
                turn.pop()
                continue
            if news & ~told[name]:
                fresh = news & ~self._first & (-1 if self.seeding else self._backlog)
                alone = 0
                if fresh and len(told) > 1:
                    if self._super and fresh >> (have.bit_length() - 1):
                        # The last link proves the list: until they have it, others ask for little.
                        chunks = [have.bit_length() - 1]
                    else:
                        chunks = list(islice(iter_bits(fresh), WHOLE_SLICE if self._super else SLICE))
                    for index in chunks:
                        alone |= 1 << index
                        self._alone[index] = now, now
                    self._hidden |= alone
                    news &= ~fresh | alone
                told[name] |= news
                self._first |= news
                self._backlog &= ~news
                self._last = now
                self._awaited.append(now)
                return name
        return None

    def next_at(self, have: int, served: int) -> float | None:
        """When ``invite`` may have somebody, None while there is nothing to tell."""
        news = have & ~self._hidden
        if any(news & ~told for told in self._told.values()):
            return self._next(served)
        if not self._alone or not self._told:
            return None
        waiting, _ = next(iter(self._alone.values()))
        return max(waiting + self._patience, self._next(served))

    @property
    def _patience(self) -> float:
        if self._super:
            return LOOK  # they have each other; this node does not wait for them with nothing to do
        return ALONE if self.seeding else AFTER

    def _next(self, served: int) -> float:
        if len(self._told) <= (FEW if self.whole and not self._super else BUSY):
            return float("-inf")
        if served >= BUSY:
            return self._last + max(WAIT, min(WAIT_MOST, WAIT_USUAL * self._usual))
        at, over = self._last + PACE, len(self._awaited) + served - BUSY
        return at if over < 0 else max(at, self._awaited[over] + self._courtesy)

    @property
    def _courtesy(self) -> float:
        """Seconds that one who was invited has for asking."""
        return min(AWAITED_MOST, AWAITED_SHARE * self._usual) if self._usual else AWAITED_MOST
