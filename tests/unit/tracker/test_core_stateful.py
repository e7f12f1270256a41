from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from tracker.core import Tracker
from tracker.events import Connected, Disconnected, Received, Send, Tick
from tracker.plan import PLAN_SIZE

DIGESTS = ["sha256:" + c * 64 for c in "ab"]
NAMES = ["a", "b", "c", "d"]
SIZE = 10 << 20

names = st.sampled_from(NAMES)
digests = st.sampled_from(DIGESTS)


def nid(name):
    return name.encode().hex().ljust(32, "0")


class Cluster(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.tracker = Tracker(0.0, first_epoch=1000)
        self.conns = {}
        self.count = 0
        self.granted = {}  # (digest, epoch) -> node
        self.last_epoch = {}
        self.unanswered = {}  # (name, digest) -> since
        self.mine = {}  # (name, digest) -> epoch

    def handle(self, event):
        by_conn = {conn: name for name, conn in self.conns.items()}
        for action in self.tracker.handle(event, self.now):
            assert isinstance(action, Send), action
            name = by_conn[action.conn]
            message = action.message
            if isinstance(message, wire.Plan):
                self.plan(name, message)
            elif isinstance(message, wire.LeaseLost):
                self.mine.pop((name, message.digest), None)

    def plan(self, name, plan):
        self.unanswered.pop((name, plan.digest), None)
        providers = [one.node for one in plan.providers]
        assert len(set(providers)) == len(providers) <= 30
        assert nid(name) not in providers
        if plan.lease == "granted":
            before = self.granted.setdefault((plan.digest, plan.epoch), name)
            assert before == name, "one epoch, two holders"
            if self.mine.get((name, plan.digest)) != plan.epoch:
                assert plan.epoch > self.last_epoch.get(plan.digest, 0)
                self.last_epoch[plan.digest] = plan.epoch
            self.mine[name, plan.digest] = plan.epoch

    @rule(name=names)
    def connect(self, name):
        if name not in self.conns:
            self.count += 1
            self.conns[name] = self.count
            hello = wire.NodeHello(PROTOCOL_VERSION, nid(name), name, "h", 5001)
            self.handle(Connected(self.count, hello, "10.0.0.1"))

    @rule(name=names)
    def disconnect(self, name):
        if name in self.conns:
            conn = self.conns.pop(name)
            self.handle(Disconnected(conn))
            for digest in DIGESTS:
                self.unanswered.pop((name, digest), None)
                self.mine.pop((name, digest), None)

    def say(self, name, message):
        if name in self.conns:
            self.handle(Received(self.conns[name], message))

    @rule(name=names, digest=digests, lease=st.booleans(), lost=st.sets(names))
    def want(self, name, digest, lease, lost):
        if name in self.conns:
            self.unanswered.setdefault((name, digest), self.now)
        self.say(name, wire.Want(digest, SIZE, lease, tuple(map(nid, sorted(lost)))))

    @rule(name=names, digest=digests)
    def unwant(self, name, digest):
        self.unanswered.pop((name, digest), None)
        self.mine.pop((name, digest), None)
        self.say(name, wire.Unwant(digest))

    @rule(name=names, digest=digests, chunks=st.integers(0, 10))
    def announce(self, name, digest, chunks):
        if chunks == 10:
            self.unanswered.pop((name, digest), None)
        self.say(name, wire.Announce((Holding(digest, SIZE, chunks, chunks == 10),)))

    @rule(name=names, digest=digests)
    def withdraw(self, name, digest):
        self.say(name, wire.Withdraw((digest,)))

    @rule(name=names, digest=digests, offset=st.integers(0, SIZE))
    def progress(self, name, digest, offset):
        if epoch := self.mine.get((name, digest)):
            self.say(name, wire.LeaseProgress(digest, epoch, offset))

    @rule(name=names, digest=digests, done=st.booleans())
    def release(self, name, digest, done):
        if epoch := self.mine.pop((name, digest), None):
            self.say(name, wire.LeaseRelease(digest, epoch, done))

    @rule(seconds=st.floats(0.01, 12))
    def advance(self, seconds):
        until = self.now + seconds
        for _ in range(1000):
            due = self.tracker.next_deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.handle(Tick())
        else:
            raise AssertionError("the machine does not come to rest")
        self.now = until
        self.handle(Tick())

    @invariant()
    def every_want_is_answered(self):
        for since in self.unanswered.values():
            assert self.now < since + 0.11

    @invariant()
    def nothing_leaks(self):
        table = self.tracker.table
        children = dict.fromkeys(table.nodes, 0)
        for blob in table.blobs.values():
            assert not blob.idle
            assert set(blob.hungry) <= set(blob.wants)
            for holder in (*blob.complete, *blob.partial):
                assert table.nodes[holder].conn is not None
                assert blob.digest in table.nodes[holder].holdings
            assert sum(blob.sizes.values()) == len(blob.complete) + len(blob.partial)
            for wanting in blob.wants.values():
                assert len(wanting.providers) <= PLAN_SIZE
                assert wanting.node.id in blob.waiting
                assert wanting.node.id not in wanting.providers
                for name in wanting.providers:
                    children[name] = children.get(name, 0) + 1
        assert {name: children.get(name, 0) for name in table.nodes} == {
            name: node.children for name, node in table.nodes.items()
        }
        for held in self.tracker.leases.items():
            lease = held[1]
            assert table.nodes[lease.holder].conn is not None

    def teardown(self):
        for name in list(self.conns):
            self.disconnect(name)
        self.advance(4000.0)
        assert not self.tracker.table.nodes
        assert not self.tracker.table.blobs
        assert not len(self.tracker.leases)
        assert self.tracker.next_deadline() is None


Cluster.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCluster = pytest.mark.slow(Cluster.TestCase)
