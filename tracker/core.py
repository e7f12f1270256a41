"""The tracker as one machine: peer table, leases, plans, jobs and tags behind ``handle``.

All of it is soft state, rebuilt from what nodes announce after a restart. Nothing it says can make a node
take a wrong byte; the worst a confused tracker does is a worse plan or one origin stream too many.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, assert_never

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION
from tracker import checks
from tracker.events import Action, Close, Connected, Disconnected, Event, Received, Send, Tick
from tracker.leases import Candidate, LeaseTable, Standing
from tracker.peer_table import Caps, PeerTable, digest_of
from tracker.planner import Counters, Planner
from tracker.prefetch import JobCaps, Jobs
from tracker.references import ReferenceTable
from tracker.zones import COPIES, Entries

if TYPE_CHECKING:
    from tracker.events import FromTracker
    from tracker.leases import Lease
    from tracker.peer_table import Blob, Node

ANNOUNCE_EVERY = 1.0

SETTLE = 3.0
"""Seconds after its start in which the tracker grants no lease on a blob that somebody has chunks of: such
a swarm is older than this tracker, and whoever streams it may still be on the way back."""

TABLE = 6_000
"""Nodes in a table: it is one message, and the wire bounds its elements."""

PLANS_AT_ONCE = 32
"""Plans made in one tick; the rest follow in the next, so that the shell's loop breathes."""

PLANS_A_MESSAGE = 4
"""Plans made with a message: first ones go before all others, so nobody who asks waits behind refreshes."""


class Tracker:
    """Connections, told apart by number, to nodes and commands.

    ``first_epoch`` must be above every lease epoch of an earlier tracker (a wall-clock millisecond will do).
    ``run`` tells its jobs apart from those of other trackers. ``zones``: each zone has leases of its own;
    ``zone_copies`` of a blob may come into it from others (``tracker.zones``).
    """

    def __init__(
        self,
        now: float,
        *,
        first_epoch: int = 1,
        run: str = "",
        zones: bool = False,
        zone_copies: float = COPIES,
        caps: Caps | None = None,
        job_caps: JobCaps | None = None,
    ) -> None:
        self.table = PeerTable(caps, zones=zones)
        self.leases = LeaseTable(first_epoch)
        self.jobs = Jobs(self.table, job_caps, prefix=f"job-{run or f'{first_epoch:x}'}-")
        self.references = ReferenceTable()
        self.counters = Counters()
        self.entries = Entries(self.table, self.leases, zone_copies)
        self._planner = Planner(self.table, self.leases, self.entries, self.counters)
        self._conns: dict[int, Node | None] = {}
        """Connection → its node; None for a command."""
        self._settled_at = now + SETTLE
        self._out: list[Action] = []

    @property
    def connections(self) -> int:
        """How many connections there are, of nodes and commands."""
        return len(self._conns)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; gives what is to be done, in order. Never raises on what a remote end sent."""
        match event:
            case Connected():
                self._connected(event, now)
            case Disconnected(conn=conn):
                self._left(conn, now)
            case Received(conn=conn, message=message):
                self.counters.messages += 1
                if conn not in self._conns:
                    self._refuse(conn, "the first message must be a hello", now)
                elif problem := checks.problem(message):
                    self._refuse(conn, problem, now)
                elif (node := self._conns[conn]) is None:
                    self._from_client(conn, message, now)
                else:
                    node.seen = now
                    self._from_node(node, conn, message, now)
            case Tick():
                self.table.expire(now)
                self._out += self.jobs.tick(now)
                self._out += self.references.tick(now)
            case _:
                assert_never(event)
        for turn in self.leases.overdue(now):
            blob = self.table.blobs.get(digest_of(turn))
            if blob is not None and blob.wants:
                self._lease_turn(blob, now)
            elif (lease := self.leases.find(turn)) is not None and lease.told and lease.due <= now:
                # Of another tracker, and nobody here asks for it: the word of its end went elsewhere.
                self.leases.clear(turn)
        for digest, zone in self.entries.overdue(now):
            self._enter(digest, zone, now)
        self._out += self._planner.due(now, PLANS_AT_ONCE if isinstance(event, Tick) else PLANS_A_MESSAGE)
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        """When ``Tick`` is due, if nothing else happens before."""
        parts = (self._planner, self.leases, self.entries, self.jobs, self.references, self.table)
        return min((at for part in parts if (at := part.next_deadline()) is not None), default=None)

    # ── connections ────────────────────────────────────────────────────────────────────────────────

    def _connected(self, event: Connected, now: float) -> None:
        conn, hello = event.conn, event.hello
        if conn in self._conns:
            self._refuse(conn, "a second hello", now)
        elif hello.version != PROTOCOL_VERSION:
            ours = (
                f"the tracker speaks protocol {PROTOCOL_VERSION}, you {hello.version}; update the older one"
            )
            self._refuse(conn, ours, now)
        elif isinstance(hello, wire.ClientHello):
            self._conns[conn] = None
            self._send(conn, wire.Welcome(PROTOCOL_VERSION, ANNOUNCE_EVERY, event.address))
        elif problem := checks.problem(hello):
            self._refuse(conn, problem, now)
        else:
            self._node_connected(event, hello, now)

    def _node_connected(self, event: Connected, hello: wire.NodeHello, now: float) -> None:
        before = self.table.nodes.get(hello.node)
        if before is not None and before.conn is not None:
            # A half-open connection is found out later than the node comes back: the newer one wins.
            stale = before.conn
            self._left(stale, now)
            self._out.append(Close(stale, f"node {before.name} connected anew"))
        host = hello.host or event.address
        node = self.table.connect(
            hello.node, hello.name, host, hello.port, event.conn, now, hello.zone, hello.rack
        )
        if node is None:
            self._refuse(event.conn, f"the table is full with {len(self.table.nodes)} nodes", now)
            return
        self._conns[event.conn] = node
        self._send(event.conn, wire.Welcome(PROTOCOL_VERSION, ANNOUNCE_EVERY, event.address))
        self._out += self.jobs.node_joined(node, now)

    def _left(self, conn: int, now: float) -> None:
        if conn not in self._conns:
            return
        node = self._conns.pop(conn)
        self._out += self.references.leave(conn, now)
        if node is None:
            self.jobs.conn_left(conn)
            return
        freed = self.leases.leave(node.id)
        entries = self.entries.leave(node)
        blobs = self.table.disconnect(node, now)
        self.jobs.node_left(node, now)
        for blob in blobs:
            self._planner.changed(blob, now)
            self._lease_turn(blob, now)
        for turn in freed:
            if (freed_blob := self.table.blobs.get(digest_of(turn))) is not None:
                self._lease_turn(freed_blob, now)
        for digest, zone in entries:
            self._enter(digest, zone, now)

    def _refuse(self, conn: int, reason: str, now: float) -> None:
        self.counters.refused += 1
        self._send(conn, wire.Refused(reason))
        self._out.append(Close(conn, reason))
        self._left(conn, now)

    def _send(self, conn: int, message: FromTracker) -> None:
        self._out.append(Send(conn, message))

    # ── messages ───────────────────────────────────────────────────────────────────────────────────

    def _from_client(self, conn: int, message: wire.ToTracker, now: float) -> None:
        match message:
            case wire.PrefetchAsk():
                if problem := self.jobs.refusal(message):
                    self._refuse(conn, problem, now)
                else:
                    self.counters.jobs += 1
                    self._out += self.jobs.begin(conn, message, now)
            case wire.PrefetchCancel(job=job):
                self._out += self.jobs.cancel(conn, job, now)
            case wire.ListNodes():
                self._send(conn, self.node_table(now))
            case wire.AskReference(fresh=False):
                self._out += self.references.ask(conn, message, now)
            case _:
                self._refuse(conn, f"a command does not send {type(message).__name__}", now)

    def _from_node(self, node: Node, conn: int, message: wire.ToTracker, now: float) -> None:
        match message:
            case wire.Announce(holdings=holdings):
                for holding in holdings:
                    blob = self.table.announce(node, holding)
                    if holding.complete:
                        self._completed(node, holding.digest, now)
                    elif node.zone and (held := self.table.blobs.get(holding.digest)) is not None:
                        self.entries.announced(node, held, holding.chunks, now)
                    if blob is not None:
                        self._planner.changed(blob, now)
            case wire.Withdraw(digests=digests):
                for digest in digests:
                    if (blob := self.table.withdraw(node, digest)) is not None:
                        self._planner.changed(blob, now)
                        self._lease_turn(blob, now)
            case wire.Want():
                self._want(node, conn, message, now)
            case wire.Unwant(digest=digest, keep=keep):
                self._unwant(node, digest, keep=keep, now=now)
            case wire.LeaseProgress():
                self._progress(node, conn, message, now)
            case wire.LeaseRelease(digest=digest, epoch=epoch, done=done):
                self._release(node, digest, epoch, done=done, now=now)
            case wire.ReferenceSeen():
                self._out += self.references.see(conn, message, now)
            case wire.ReferenceUnseen(repository=repository, reference=reference):
                self._out += self.references.unseen(conn, repository, reference, now)
            case wire.AskReference():
                self._out += self.references.ask(conn, message, now)
            case wire.IntentProgress():
                self._out += self.jobs.progress(node, message, now)
            case wire.ListNodes():
                self._send(conn, self.node_table(now))
            case _:
                self._refuse(conn, f"a node does not send {type(message).__name__}", now)

    def _want(self, node: Node, conn: int, want: wire.Want, now: float) -> None:
        unreachable = frozenset(want.unreachable)
        wanting = self.table.want(
            node, want.digest, want.size, lease=want.lease, unreachable=unreachable, rank=want.rank
        )
        if wanting is None:
            self._refuse(conn, f"more than {self.table.caps.wants} wants at once", now)
            return
        if len(wanting.blob.wants) > 1:
            self._planner.changed(wanting.blob, now)  # one more that the others can get chunks from, soon
        if wanting.lease and not self.table.whole_for(wanting):
            pushed = wanting.pushed
            self._lease_turn(wanting.blob, now)
            if wanting.pushed != pushed:
                return  # it was granted, and the plan that says so went out
        if node.zone and not self.table.whole_near(wanting):
            self._enter(want.digest, node.zone, now)
        self._planner.asked(wanting, now)

    def _unwant(self, node: Node, digest: str, *, keep: bool, now: float) -> None:
        self.table.unwant(node, digest)
        turn = self.table.turn(digest, node)
        lease = None if keep else self.leases.find(turn)
        if lease is not None and lease.holder == node.id and not lease.done:
            self.leases.clear(turn)
            if (blob := self.table.blobs.get(digest)) is not None:
                self._lease_turn(blob, now)
        if self.entries.holder(digest, node.zone) == node.id:
            self._enter(digest, node.zone, now)

    def _completed(self, node: Node, digest: str, now: float) -> None:
        """The node has it all: it wants no plan, and a lease has nothing left to guard."""
        self.table.unwant(node, digest)
        turn = self.table.turn(digest, node)
        lease = self.leases.find(turn)
        if lease is not None and (lease.holder == node.id or lease.done):
            self.leases.clear(turn)
            if (blob := self.table.blobs.get(digest)) is not None:
                self._lease_turn(blob, now)
        if self.entries.holder(digest, node.zone):
            self._enter(digest, node.zone, now)

    def _progress(self, node: Node, conn: int, word: wire.LeaseProgress, now: float) -> None:
        digest, epoch = word.digest, word.epoch
        turn = self.table.turn(digest, node)
        standing = self.leases.standing(node.id, turn, epoch, word.rank)
        if standing in (Standing.FREE, Standing.PREVAILS):
            # Granted before this tracker's start, or before the node was cut off, or by another tracker.
            if (before := self.leases.find(turn)) is not None and before.holder != node.id:
                self._tell_loser(digest, before)
            self.leases.adopt(node.id, turn, epoch, now, word.rank)
            self.counters.leases_adopted += 1
            standing = Standing.HELD
            if (blob := self.table.blobs.get(digest)) is not None:
                for wanting in blob.wants.values():
                    self._planner.schedule(wanting, now)
        if standing is Standing.HELD:
            self.leases.progress(turn, word.offset, now)
        else:
            self._send(conn, wire.LeaseLost(digest, epoch))

    def _tell_loser(self, digest: str, lease: Lease) -> None:
        loser = self.table.nodes.get(lease.holder)
        if loser is not None and loser.conn is not None:
            self._send(loser.conn, wire.LeaseLost(digest, lease.epoch))

    def _release(self, node: Node, digest: str, epoch: int, *, done: bool, now: float) -> None:
        turn = self.table.turn(digest, node)
        if self.leases.standing(node.id, turn, epoch) is not Standing.HELD:
            return
        blob = self.table.blobs.get(digest)
        if done and (holding := node.holdings.get(digest)) is not None and holding.complete:
            self.leases.clear(turn)
        elif done:
            self.leases.done(turn, now)
        else:
            self.counters.leases_failed += 1
            self.leases.failed(turn, now)
        if blob is not None:
            self._lease_turn(blob, now)
            for wanting in blob.wants.values():
                self._planner.schedule(wanting, now)

    # ── plans and leases ───────────────────────────────────────────────────────────────────────────

    def _lease_turn(self, blob: Blob, now: float) -> None:
        """Grant the leases of a blob that are free or overdue and that somebody needs."""
        if blob.wants:
            for turn in self.table.turns(blob):
                self._grant(blob, turn, now)
            for zone in blob.places.zones():
                self._enter(blob.digest, zone, now)

    def _enter(self, digest: str, zone: str, now: float) -> None:
        """See who lets a blob into a zone."""
        blob = self.table.blobs.get(digest)
        if blob is not None:
            for wanting in self.entries.look(blob, zone, now, self._settled_at):
                self._planner.schedule(wanting, now)

    def _grant(self, blob: Blob, turn: str, now: float) -> None:
        lease = self.leases.find(turn)
        if lease is not None and lease.due > now:
            return
        if lease is None and now < self._settled_at and (len(blob.partial) or len(blob.complete)):
            self.leases.wake(turn, self._settled_at)
            return
        candidates = [
            Candidate(one.node.id, one.node.chunks(blob.digest), one.rank)
            for one in blob.wants.values()
            if one.lease
            and self.table.turn(blob.digest, one.node) == turn
            and not self.table.whole_for(one)
            and (lease is None or one.node.id != lease.holder)
        ]
        granted = self.leases.grant(turn, candidates, now) if candidates else None
        if granted is None:
            return
        self.counters.leases_granted += 1
        if lease is not None:
            self.counters.leases_stolen += 1
            self._tell_loser(blob.digest, lease)
        self._out.append(self._planner.push(blob.wants[granted.holder], now))
        for wanting in blob.wants.values():
            if wanting.node.id != granted.holder:
                self._planner.schedule(wanting, now)

    # ── for show ───────────────────────────────────────────────────────────────────────────────────

    def node_table(self, now: float) -> wire.NodeTable:
        """Give the nodes that are remembered, in order of arrival, at most ``TABLE`` of them."""
        return wire.NodeTable(
            tuple(
                wire.NodeRow(
                    node.id,
                    node.name,
                    node.host,
                    node.port,
                    node.conn is not None,
                    max(0.0, now - node.seen),
                    node.complete,
                    len(node.holdings) - node.complete,
                )
                for node in islice(self.table.nodes.values(), TABLE)
            )
        )
