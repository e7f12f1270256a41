"""Whom to evict for a reservation: a pure policy."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Room:
    """The room there is, in bytes.

    ``quota`` (0: none) bounds ``used``, what blobs and reservations take already. ``free`` is what the
    filesystem has left once every reservation is written, ``floor`` what must stay free of it. Eviction
    begins when ``used`` passes the share ``high`` of the quota and goes on down to the share ``low``.
    """

    quota: int
    used: int
    free: int
    floor: int
    high: float = 1.0
    low: float = 1.0

    def excess(self, need: int) -> int:
        """Bytes that must go before ``need`` more fit."""
        over = self.used + need - self.quota if self.quota else 0
        return max(0, over, need + self.floor - self.free)

    def wish(self, need: int) -> int:
        """Bytes that had better go, the watermarks considered; never less than the excess."""
        excess = self.excess(need)
        if self.quota and self.used + need > self.high * self.quota:
            return max(excess, self.used + need - int(self.low * self.quota))
        return excess


@dataclass(frozen=True, slots=True)
class Candidate(Generic[Key]):
    """Something that may go, and the bytes that it frees."""

    key: Key
    size: int


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Key]):
    """``victims`` in order, and how many bytes are ``short`` even then (there are no victims then)."""

    victims: tuple[Key, ...]
    short: int


def decide(room: Room, need: int, candidates: Iterable[Candidate[Key]]) -> Verdict[Key]:
    """Choose from ``candidates``, given in the order they should go, until ``need`` bytes fit."""
    excess, wish = room.excess(need), room.wish(need)
    if room.quota and need > room.quota:
        return Verdict((), need - room.quota)
    victims: list[Key] = []
    freed = 0
    for candidate in candidates:
        if freed >= wish:
            break
        victims.append(candidate.key)
        freed += candidate.size
    if freed < excess:
        return Verdict((), excess - freed)
    return Verdict(tuple(victims), 0)
