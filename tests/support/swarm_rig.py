"""One pure swarm in a test's hand: events go in by name, actions come out sorted by type."""

from __future__ import annotations

import random
from typing import Any

from p2p.core.oci.digest import Digest
from p2p.core.swarm import actions as act
from p2p.core.swarm import events as ev
from p2p.core.swarm.bitfield import Bitfield
from p2p.core.swarm.chunks import MIB
from p2p.core.swarm.midstates import Midstates
from p2p.core.swarm.reputation import Reputation
from p2p.core.swarm.settings import SwarmSettings
from p2p.core.swarm.swarm import Swarm
from p2p.core.wire.common import Provider

DIGEST = Digest.of(b"the blob that no test ever sees")


def states(count: int, salt: str = "true") -> Midstates:
    """A list for a blob of ``count`` chunks; one salt, one list (the links are not looked at here)."""
    return Midstates("sha256", b"".join(Digest.of(f"{salt} {i}".encode()).raw for i in range(count - 1)))


def provider(name: str, *, complete: bool = True) -> Provider:
    return Provider(name, name, name, 1, complete)


class Rig:
    """A swarm of ``count`` chunks of 1 MiB that is prepared and has a reader; ``now`` is the test's."""

    def __init__(
        self, count: int = 8, *, seed: int = 0, origin: bool = True, prepared: bool = True, **settings: Any
    ) -> None:
        self.count = count
        self.now = 0.0
        self.swarm = Swarm(
            DIGEST,
            node="self",
            settings=SwarmSettings(**settings),
            rng=random.Random(seed),
            reputation=Reputation(),
            size=count * MIB,
            origin=origin,
        )
        self.actions = self.swarm.start(self.now)
        self(ev.ReaderJoined(1, 0, count * MIB))
        if prepared:
            self(ev.Prepared(Bitfield(count).to_bytes(), Midstates("sha256")))

    def __call__(self, event: ev.Event, at: float | None = None) -> list[Any]:
        """Hand an event in; gives its actions (kept in ``actions`` too)."""
        if at is not None:
            self.now = at
        self.actions = self.swarm.handle(event, self.now)
        return self.actions

    def tick(self, at: float) -> list[Any]:
        return self(ev.Tick(), at)

    def of(self, kind: type) -> list[Any]:
        """The last event's actions of one type."""
        return [action for action in self.actions if isinstance(action, kind)]

    def plan(self, *names: str, lease: ev.LeaseState = ev.LeaseState.NONE, **more: Any) -> list[Any]:
        return self(ev.Planned(tuple(provider(name) for name in names), lease, **more))

    def grant(self, epoch: int = 1, **more: Any) -> list[Any]:
        return self.plan(lease=ev.LeaseState.GRANTED, epoch=epoch, **more)

    def seeder(self, name: str, listed: Midstates | None = None) -> list[Any]:
        """A peer that has everything, and its list; gives what follows."""
        self.plan(name)
        self(ev.PeerState(name, self.count * MIB, complete=True))
        return self.tell(name, listed or states(self.count))

    def follower(self, name: str, listed: Midstates, have: Bitfield) -> list[Any]:
        """A peer whose blob grows."""
        self.plan(name)
        self(ev.PeerState(name, self.count * MIB, complete=False, have=have.to_bytes()))
        return self.tell(name, listed)

    def tell(self, name: str, listed: Midstates) -> list[Any]:
        return self(ev.PeerMidstates(name, 0, listed.states, listed.list_id()))

    def take(self, request: act.Request, *, held: bool = True, seconds: float = 0.1) -> list[Any]:
        """A request's chunks came."""
        return self(
            ev.ChunksTaken(request.request, request.first, (held,) * request.count, seconds, last=True)
        )

    @property
    def asked(self) -> dict[str, list[int]]:
        """Chunks under way, by whom they are asked of."""
        asked: dict[str, list[int]] = {}
        for pending in self.swarm.requests.pending.values():
            asked.setdefault(pending.peer, []).extend(pending.missing)
        return asked
