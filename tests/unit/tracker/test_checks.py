from __future__ import annotations

import pytest

from p2p.core.wire import tracker as wire
from p2p.core.wire.common import PROTOCOL_VERSION, Holding
from tracker.checks import problem

A = "sha256:" + "a" * 64


def hello(**changes):
    fields = {"version": PROTOCOL_VERSION, "node": "0" * 32, "name": "n", "host": "h", "port": 1} | changes
    return wire.NodeHello(**fields)


@pytest.mark.parametrize(
    "message",
    [
        hello(),
        hello(host="", name="büro 7", port=65535),
        hello(host="fe80::1%eth0"),
        wire.Announce(()),
        wire.Announce((Holding(A, 0, 1, True), Holding("sha512:" + "b" * 128, 5 << 30, 3, False))),
        wire.Withdraw((A,)),
        wire.Want(A, 0, True),
        wire.Unwant(A),
        wire.LeaseProgress(A, 1, 0),
        wire.LeaseRelease(A, 1, True),
        wire.ReferenceSeen("r", "t", A, "m", 0, 0.0),
        wire.IntentProgress("j", "i", "done", 0, (("cache", 0),)),
        wire.ListNodes(),
    ],
)
def test_sense(message):
    assert problem(message) == ""


@pytest.mark.parametrize(
    "message",
    [
        hello(node="0" * 31),
        hello(name=""),
        hello(name="x" * 254),
        hello(name="\x1b[2J"),
        hello(host="a b"),
        hello(port=0),
        hello(zone="a", rack="b/c"),
        hello(port=65536),
        wire.Withdraw(("sha256:" + "A" * 64,)),
        wire.Unwant(A + "\n"),
        wire.LeaseProgress(A, 1, -1),
        wire.LeaseRelease("", 1, True),
        wire.ReferenceSeen("r" * 2000, "t", A, "m", 0, 0.0),
        wire.ReferenceSeen("r", "t", A, "m", 0, -1.0),
        wire.ReferenceSeen("r", "t", A, "m", 0, float("inf")),
        wire.IntentProgress("j", "i", "lost", 0, ()),
        wire.IntentProgress("j", "i", "done", -1, ()),
        wire.IntentProgress("j", "i", "done", 0, (("cache", -1),)),
        wire.IntentProgress("j", "i", "done", 0, (("cache", 1),) * 9),
    ],
)
def test_nonsense(message):
    assert problem(message)
