"""The tracker's client: connects for ever, tells what the node's ledger holds, hands plans to the swarms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, assert_never

import structlog
import trio
import trio_websocket

from p2p.core.swarm import events as ev
from p2p.core.wire import tracker as wire
from p2p.core.wire.codec import FROM_TRACKER, WireError, encode
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.discovery.channel import CONNECT_TIMEOUT, open_channel, parse_url
from p2p.discovery.ledger import Ledger
from p2p.discovery.questions import Questions
from p2p.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from p2p.core.oci.digest import Digest
    from p2p.core.wire.common import Holding
    from p2p.discovery.api import KnownReference, Sink

SEND_TIMEOUT = 10.0
PING_EVERY = 5.0
PING_TIMEOUT = 10.0
FIRST_RETRY, LAST_RETRY = 0.1, 2.0
REFUSED_RETRY = 10.0
"""A tracker that refused us is not asked every other second: somebody must mend something first."""

_LEASES = {"granted": ev.LeaseState.GRANTED, "held": ev.LeaseState.HELD, "none": ev.LeaseState.NONE}

_REMOTE = (
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
    trio.TooSlowError,
    trio.BrokenResourceError,
    OSError,
    TrackerError,
)
"""What a broken, silent or unwilling other end looks like here."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """The node as others see it: id, name, and its peer address.

    ``host`` empty: the address from which the tracker sees it come. ``port`` is the one listened on.
    """

    node: str
    name: str
    host: str
    port: int
    zone: str = ""
    rack: str = ""


class RefusedError(TrackerError):
    """The tracker would not go on with this node, and said why."""


class TrackerClient:
    """Discovery, leases and tags through a tracker. One per node; all calls are from the trio loop.

    ``on_intent`` gets prefetch jobs to do (an intent may come again under the same job id: after a
    reconnect; it is to be taken up where it stands) and their cancellations; it must not block.
    ``on_change`` (settable) is told True when the tracker is there, False at every attempt that failed
    and when the connection is lost. ``on_lost`` (settable) is told of leases lost that no want is for.
    ``rank(digest)`` (settable) gives this tracker's place among those of a digest.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        rng: Random,
        on_intent: Callable[[wire.Intent | wire.IntentCancel], None] | None = None,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        self.url = parse_url(url)
        self.on_change = on_change
        self.on_lost: Callable[[str, int], None] | None = None
        self.rank: Callable[[str], int] = _first_rank
        self.heard = float("-inf")
        """When it said something last."""
        self.observed_host = ""
        """This node's address as the tracker sees it, once connected."""
        self._identity = identity
        self._rng = rng
        self.on_intent = on_intent
        self._ledger = Ledger()
        self._sinks: dict[str, Sink] = {}
        self._plans: dict[str, ev.Planned] = {}
        self._questions = Questions(self._question)
        self._failures = 0
        self._available = False
        self._wake = trio.Event()

    @property
    def available(self) -> bool:
        """Whether the tracker is connected and said welcome."""
        return self._available

    def held(self, digest: Digest) -> int:
        """Give the epoch of the lease that the tracker granted this node on a digest, 0 for none."""
        return self._ledger.held(str(digest))

    # ── what the node tells ────────────────────────────────────────────────────────────────────────

    def want(
        self, digest: Digest, size: int, *, lease: bool, unreachable: frozenset[str], sink: Sink
    ) -> None:
        """Ask for plans until ``unwant``; asked again by itself after every reconnect."""
        name = str(digest)
        self._sinks[name] = sink
        self._ledger.want(wire.Want(name, size, lease, tuple(sorted(unreachable)), self.rank(name)))
        self._wake.set()

    def unwant(self, digest: Digest) -> None:
        """End it; an unreleased lease goes back."""
        name = str(digest)
        self._sinks.pop(name, None)
        self._plans.pop(name, None)
        self._ledger.unwant(name)
        self._wake.set()

    def move(self, digest: str) -> None:
        """Ask this tracker no longer, as another one is asked now; a lease lives on."""
        self._sinks.pop(digest, None)
        self._plans.pop(digest, None)
        self._ledger.unwant(digest, keep=True)
        self._wake.set()

    def hold(self, digest: str, epoch: int, rank: int) -> None:
        """Report also here on a lease that the ``rank``-th tracker of the digest granted."""
        self._ledger.granted(digest, epoch, rank)
        self._wake.set()

    def drop(self, digest: str, epoch: int) -> None:
        """Report no more on a lease, which was lost."""
        self._ledger.lost(digest, epoch)

    def announce(self, holding: Holding) -> None:
        """Tell what this node has; growth is batched, the first chunk and completion are told at once."""
        self._ledger.announce(holding, trio.current_time())
        self._wake.set()

    def progress(self, digest: Digest, epoch: int, offset: int) -> None:
        """Keep a lease; told at most four times a second."""
        self._ledger.progress(str(digest), epoch, offset)
        self._wake.set()

    def release(self, digest: Digest, epoch: int, *, done: bool) -> None:
        """Give a lease back."""
        self._ledger.release(str(digest), epoch, done=done)
        self._wake.set()

    def report(self, progress: wire.IntentProgress) -> None:
        """Tell how an image of a prefetch job goes; the latest word is told again after a reconnect."""
        self._ledger.report(progress)
        self._wake.set()

    def seen(self, repository: str, reference: str, known: KnownReference) -> None:
        """Tell that the origin confirmed a tag."""
        seen = wire.ReferenceSeen(
            repository, reference, str(known.digest), known.media_type, known.size, known.age
        )
        self._ledger.seen(seen, trio.current_time())
        self._wake.set()

    def unseen(self, repository: str, reference: str) -> None:
        """Tell that the origin did not confirm a tag."""
        self._ledger.unseen(wire.ReferenceUnseen(repository, reference))
        self._wake.set()

    async def ask_first(self, repository: str, reference: str, max_age: float) -> KnownReference | None:
        """Ask who asks the origin; None where it is this node's to ask, or the tracker is away or silent."""
        return await self._questions.ask_first(repository, reference, max_age) if self._available else None

    async def find_reference(self, repository: str, reference: str) -> KnownReference | None:
        """Ask for a tag; None where the tracker knows nothing, is away, or is silent for a second."""
        return await self._questions.find(repository, reference) if self._available else None

    def _question(self, ask: wire.AskReference) -> None:
        self._ledger.ask(ask)
        self._wake.set()

    # ── the connection ─────────────────────────────────────────────────────────────────────────────

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect again and again, with backoff and jitter, until cancelled."""
        task_status.started()
        while True:
            try:
                await self._session()
            except TrackerError as error:
                pause = self._pause(refused=isinstance(error, RefusedError))
                if not self._failures or isinstance(error, RefusedError):
                    log.warning("tracker lost", tracker=self.url, cause=error.cause, retry_in=round(pause, 2))
                self._failures += 1
                if self.on_change is not None:
                    self.on_change(False)
            await trio.sleep(pause)  # before the next try, so that a tracker is not run over

    def _pause(self, *, refused: bool) -> float:
        longest = REFUSED_RETRY if refused else min(FIRST_RETRY * 2 ** min(self._failures, 8), LAST_RETRY)
        return longest * (0.5 + 0.5 * self._rng.random())

    async def _session(self) -> NoReturn:
        """Be connected until it ends, which always is a TrackerError."""
        try:
            async with open_channel(self.url) as socket:
                await self._greet(socket)
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._tell, socket)
                        nursery.start_soon(self._ping, socket)
                        await self._listen(socket)
                finally:
                    self._gone()
        except BaseExceptionGroup as group:
            remote, rest = group.split(_REMOTE)
            if remote is None or rest is not None:
                # Cancelled, or a bug: either matters more than how the connection ended.
                raise (rest or group) from None
            raise self._mapped(_first(remote)) from group
        except _REMOTE as error:
            raise self._mapped(error) from error
        raise self._lost("closed the connection")

    def _mapped(self, error: BaseException) -> TrackerError:
        match error:
            case TrackerError():
                return error
            case trio_websocket.ConnectionRejected(status_code=status):
                return self._lost(f"answered with HTTP status {status}: not a tracker")
            case trio.TooSlowError():
                return self._lost("did not answer in time")
            case trio_websocket.ConnectionClosed(reason=reason):
                told = f": {reason.reason}" if reason is not None and reason.reason else ""
                return self._lost(f"closed the connection{told}")
            case _:
                cause = error.__cause__ or error
                return self._lost(f"can't be reached: {str(cause) or type(cause).__name__}")

    def _lost(self, cause: str) -> TrackerError:
        return TrackerError(f"tracker {self.url}", cause, "Nodes go on without it; see that it runs")

    async def _greet(self, socket: trio_websocket.WebSocketConnection) -> None:
        me = self._identity
        hello = wire.NodeHello(PROTOCOL_VERSION, me.node, me.name, me.host, me.port, me.zone, me.rack)
        with trio.fail_after(CONNECT_TIMEOUT):
            await socket.send_message(encode(hello))
            welcome = self._read(await socket.get_message())
        if isinstance(welcome, wire.Refused):
            raise RefusedError(f"tracker {self.url}", f"refused this node: {welcome.reason}")
        if not isinstance(welcome, wire.Welcome) or welcome.version != PROTOCOL_VERSION:
            raise RefusedError(f"tracker {self.url}", "does not speak our protocol", "Update the older one")
        self.observed_host = welcome.host
        self.heard = trio.current_time()
        self._ledger.announce_every = min(max(welcome.announce_every, 0.1), 5.0)
        self._ledger.connect()
        self._available = True
        log.info("tracker connected", tracker=self.url)
        self._failures = 0
        if self.on_change is not None:
            self.on_change(True)

    def _gone(self) -> None:
        self._available = False
        self._plans.clear()
        self._ledger.disconnect()
        self._questions.gone()

    def _read(self, data: str | bytes) -> wire.FromTracker:
        try:
            return FROM_TRACKER.decode(data if isinstance(data, bytes) else data.encode())
        except WireError as error:
            raise TrackerError(f"tracker {self.url}", f"sent what is no message: {error.cause}") from error

    async def _tell(self, socket: trio_websocket.WebSocketConnection) -> None:
        while True:
            due = self._ledger.next_due()
            now = trio.current_time()
            if due is None or due > now:
                self._wake = trio.Event()
                with trio.move_on_at(float("inf") if due is None else due):
                    await self._wake.wait()
            for message in self._ledger.take(trio.current_time()):
                await self._send(socket, message)
            await trio.lowlevel.checkpoint()

    async def _send(self, socket: trio_websocket.WebSocketConnection, message: wire.ToTracker) -> None:
        try:
            data = encode(message)
        except WireError:
            # Ours to mend, and no reason to lose the connection: everything else is still true.
            log.exception("message left out", tracker=self.url, message=type(message).__name__)
            return
        with trio.fail_after(SEND_TIMEOUT):
            await socket.send_message(data)

    async def _ping(self, socket: trio_websocket.WebSocketConnection) -> None:
        """Find out about a connection whose other end is gone without a word."""
        while True:
            await trio.sleep(PING_EVERY)  # a connection says nothing when its other end is gone
            with trio.fail_after(PING_TIMEOUT):
                await socket.ping()
            self.heard = trio.current_time()

    async def _listen(self, socket: trio_websocket.WebSocketConnection) -> NoReturn:
        while True:
            message = self._read(await socket.get_message())
            self.heard = trio.current_time()
            self._take(message)

    def _take(self, message: wire.FromTracker) -> None:
        match message:
            case wire.Plan():
                self._plan(message)
            case wire.PlansStand(digests=digests):
                for digest in digests:
                    self._stand(digest)
            case wire.LeaseLost(digest=digest, epoch=epoch):
                self._ledger.lost(digest, epoch)
                if (sink := self._sinks.get(digest)) is not None:
                    sink(ev.LeaseLost(epoch))
                elif self.on_lost is not None:
                    self.on_lost(digest, epoch)
            case wire.ReferenceAnswer():
                self._questions.answered(message)
            case wire.Intent() | wire.IntentCancel():
                if self.on_intent is not None:
                    self.on_intent(message)
            case wire.Refused(reason=reason):
                raise RefusedError(f"tracker {self.url}", f"refused this node: {reason}")
            case wire.Welcome() | wire.JobReport() | wire.NodeTable():
                log.debug("unexpected message", tracker=self.url, message=type(message).__name__)
            case _:
                assert_never(message)

    def _plan(self, plan: wire.Plan) -> None:
        lease, size = _LEASES[plan.lease], plan.size
        self._give(
            plan.digest,
            ev.Planned(plan.providers, lease, plan.epoch, exclusive=True, size=size, route="tracker"),
        )

    def _stand(self, digest: str) -> None:
        """The last plan holds for as long again; peers that failed since may be tried anew."""
        if (planned := self._plans.get(digest)) is not None:
            self._give(digest, planned)

    def _give(self, digest: str, planned: ev.Planned) -> None:
        sink = self._sinks.get(digest)
        if sink is None:
            # Crossed our unwant, which gives back whatever lease it carries.
            return
        if planned.lease is ev.LeaseState.GRANTED:
            rank = self.rank(digest)
            if not self._ledger.granted(digest, planned.epoch, rank):
                planned = replace(planned, lease=ev.LeaseState.HELD)
        self._plans[digest] = planned
        sink(planned)


def _first_rank(_: str) -> int:
    return 0


def _first(group: BaseExceptionGroup) -> BaseException:
    """Give the first single exception of a group; a refusal before what came of it."""
    refusal = group.subgroup(TrackerError)
    error: BaseException = refusal if refusal is not None else group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
