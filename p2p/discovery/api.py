"""Discovery's seam: who has a digest, and who may ask the origin for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from p2p.core.swarm.events import LeaseLost, Planned

if TYPE_CHECKING:
    from p2p.core.oci.digest import Digest
    from p2p.core.wire.common import Holding, Provider

Sink = Callable[[Planned | LeaseLost], None]
"""Takes news of one digest; called from the trio loop, never blocks."""


@dataclass(frozen=True, slots=True)
class KnownReference:
    """What a tag pointed to when the origin last confirmed it, ``age`` seconds ago."""

    digest: Digest
    media_type: str
    size: int
    age: float


class Discovery(Protocol):
    """One way to find providers (tracker, static list, DHT), or several behind one face.

    The calls never block and never fail: a way that is down says so in ``available`` and answers with
    an empty plan, so that the swarm goes on to the next thing it can do.
    """

    @property
    def available(self) -> bool:
        """Whether it can answer now."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it going until cancelled; starts at once, whether or not the other end is there."""
        ...

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        """Ask for providers now and for changes later; a repeated call replaces the earlier one.

        ``size`` 0: unknown. ``lease``: also ask for the right to stream it from the origin.
        """
        ...

    def unwant(self, digest: Digest) -> None:
        """End it; gives back a lease that was not released."""
        ...

    def announce(self, holding: Holding) -> None:
        """Tell what this node has (batched); ``chunks == 0`` and not complete: withdraw it."""
        ...


class Leases(Protocol):
    """The other half, where origin leases are kept."""

    def progress(self, digest: Digest, epoch: int, offset: int) -> None:
        """Tell that the stream has come to ``offset`` bytes (at most a few times a second is sent)."""
        ...

    def release(self, digest: Digest, epoch: int, *, done: bool) -> None:
        """Give a lease back."""
        ...


class References(Protocol):
    """What other nodes know of tags: so that one asks the origin for all, and for when it can't be asked."""

    async def ask_first(self, repository: str, reference: str, max_age: float) -> KnownReference | None:
        """Ask, before the origin is asked, whether another node has its answer, or gets it now.

        One of less than ``max_age`` seconds ago will do, or to a request that began after this call. None:
        this node is to ask the origin, and to say ``seen`` or ``unseen`` then. Takes a fraction of a second
        where nobody answers, and about two where another node asks.
        """
        ...

    def seen(self, repository: str, reference: str, known: KnownReference) -> None:
        """Tell the others that the origin confirmed a tag."""
        ...

    def unseen(self, repository: str, reference: str) -> None:
        """Tell the others that it did not, whatever the reason."""
        ...

    async def find_reference(self, repository: str, reference: str) -> KnownReference | None:
        """Ask the others; answers within about a second."""
        ...


class PeerBook(Protocol):
    """Where peers are noted that may have anything; ``StaticPeers`` is one."""

    def add_known(self, provider: Provider) -> None:
        """Take a peer, or what is new about it; ``node`` may be ``static:host:port`` until it greets."""
        ...

    def forget(self, node: str) -> None:
        """Drop one."""
        ...


class ProviderSource(Protocol):
    """A way to learn of peers that other distributions bring: DNS, an orchestrator's API, a file."""

    async def run(
        self, peers: PeerBook, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep ``peers`` in step with what it finds, until cancelled. Never raises for what is down."""
        ...
