"""Who has been caught: strikes and bans, over all swarms of a node.

A first strike disconnects, a second bans for an hour (docs/protocol.md, "Blame").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

BAN_SECONDS = 3600.0
STRIKE_SECONDS = 3600.0
"""After so long without another, a strike is forgotten."""

MOST = 4096


class Verdict(Enum):
    """What a strike leads to."""

    DISCONNECT = "disconnect"
    BAN = "ban"


@dataclass(slots=True)
class _Record:
    strikes: list[float] = field(default_factory=list)
    banned_until: float = 0.0
    offence: str = ""


class Reputation:
    """Strikes by node id; ``now`` in seconds. At most ``MOST`` nodes are remembered, oldest out first."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def strike(self, node: str, offence: str, now: float) -> Verdict:
        """Count an offence that was proven."""
        record = self._records.pop(node, None) or _Record()
        self._records[node] = record
        while len(self._records) > MOST:
            del self._records[next(iter(self._records))]
        record.strikes = [at for at in record.strikes if now - at < STRIKE_SECONDS]
        record.strikes.append(now)
        record.offence = offence
        if len(record.strikes) < 2:
            return Verdict.DISCONNECT
        record.banned_until = now + BAN_SECONDS
        return Verdict.BAN

    def banned(self, node: str, now: float) -> bool:
        """Whether a node is banned now."""
        record = self._records.get(node)
        return record is not None and record.banned_until > now

    def bans(self, now: float) -> dict[str, str]:
        """Banned nodes and what they did last."""
        return {node: r.offence for node, r in self._records.items() if r.banned_until > now}
