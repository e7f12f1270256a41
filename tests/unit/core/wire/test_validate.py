"""Meaning that types can't express."""

from __future__ import annotations

from typing import Any

import pytest

from p2p.core.oci.digest import Digest
from p2p.core.wire.common import Holding, Provider
from p2p.core.wire.peer import (
    FoundReference,
    Have,
    Midstates,
    PeerHello,
    PeerMessage,
    State,
    Subscribe,
    Unsubscribe,
)
from p2p.core.wire.tracker import (
    Announce,
    FromTracker,
    IntentProgress,
    JobReport,
    NodeReport,
    NodeRow,
    NodeTable,
    Plan,
    ToTracker,
    Want,
    Welcome,
    Withdraw,
)
from p2p.core.wire.validate import MAX_COUNT, validator

D = str(Digest.of(b""))
D512 = str(Digest.of(b"", "sha512"))
NAN, INFINITE = float("nan"), float("inf")


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "size": 1,
        "providers": (),
        "lease": "none",
        "epoch": 0,
        "holder": "",
        "expires_in": 3.0,
    }
    return Plan(digest=D, **(fields | changes))


@pytest.mark.parametrize(
    "message",
    [
        PeerHello(1, "n", "name", 0),
        PeerHello(1, "n", "name", 65535),
        Subscribe(D),
        Subscribe(D, 3, bytes(32)),
        State(D512, 0, complete=True),
        Have(D, (0, 1)),
        Midstates(D, 0, bytes(64), bytes(32)),
        Midstates(D512, 0, bytes(64), bytes(32)),
        FoundReference(1),
        FoundReference(1, D),
        Announce((Holding(D, MAX_COUNT, 0, complete=False),)),
        Withdraw(()),
        Withdraw((D, D512)),
        plan(lease="granted", providers=(Provider("n", "x", "h", 1),)),
        Welcome(1, 0.0, ""),
    ],
)
def test_what_holds(message: Any) -> None:
    validator(PeerMessage | ToTracker | FromTracker)(message)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (PeerHello(1, "n", "name", 65536), "port: a port"),
        (PeerHello(1, "n", "name", -1), "port: a port"),
        (PeerHello(-1, "n", "name", 1), "version: a negative"),
        (PeerHello(1 << 63, "n", "name", 1), "version: a count above"),
        (Subscribe("sha256:x"), "digest: digest"),
        (Subscribe(""), "digest: digest"),
        (Subscribe(D, -1), "list_length"),
        (Subscribe(D, 1, b"x"), "list_id"),
        (Unsubscribe("../../etc/passwd"), "digest"),
        (State(D, -1, complete=False), "size"),
        (Have(D, (0, -1)), "chunks: a negative"),
        (Midstates(D, -1, b"", bytes(32)), "start"),
        (Midstates(D, 0, bytes(33), bytes(32)), "states"),
        (Midstates(D512, 0, bytes(32), bytes(32)), "states"),
        (Midstates(D, 0, b"", b""), "list_id"),
        (FoundReference(1, "x"), "digest"),
        (FoundReference(1, D, age=NAN), "age"),
        (FoundReference(1, D, age=-0.1), "age"),
        (Announce((Holding(D, -1, 0, complete=False),)), "holdings: size"),
        (Announce((Holding("x", 1, 0, complete=False),)), "holdings: digest"),
        (Withdraw((D, "x")), "digests"),
        (Want("x", 0, lease=True), "digest"),
        (IntentProgress("j", "i", "done", 1, (("peers", -1),)), "sources"),
        (plan(providers=(Provider("n", "x", "h", 70_000),)), "providers: port"),
        (plan(lease="mine"), "lease"),
        (plan(expires_in=INFINITE), "expires_in"),
        (Welcome(1, NAN, ""), "announce_every"),
        (JobReport("j", (NodeReport("n", "x", "i", "done", -1, ()),), done=True), "rows: total"),
        (JobReport("j", (NodeReport("n", "x", "i", "done", 1, (("a", -1),)),), done=True), "rows: sources"),
        (NodeTable((NodeRow("n", "x", "h", 1, True, -1.0, 0, 0),)), "rows: seen"),
    ],
)
def test_what_does_not(message: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        validator(PeerMessage | ToTracker | FromTracker)(message)


def test_one_class_is_a_union_too() -> None:
    with pytest.raises(ValueError, match="digest"):
        validator(Unsubscribe)(Unsubscribe("x"))
