"""Whether a message makes sense: what the codec's types can't say. Garbage is refused, never half taken."""

from __future__ import annotations

import math
import re

from p2p.core.swarm.chunks import MAX_BLOB
from p2p.core.wire import tracker as wire
from tracker.peer_table import believable, is_digest
from tracker.prefetch import REPORTED

_NODE = re.compile(r"[0-9a-f]{32}")
_ZONE = re.compile(r"[A-Za-z0-9._-]{0,64}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{0,253}")

UNREACHABLE = 1024
TEXT = 1024


def problem(message: wire.ToTracker) -> str:
    """Say what is wrong with a message; empty where nothing is."""
    match message:
        case wire.NodeHello():
            return _node_hello(message)
        case wire.Announce(holdings=holdings):
            if not all(map(believable, holdings)):
                return "a holding that can't be: digest, size or chunks"
        case wire.Withdraw(digests=digests):
            if not all(map(is_digest, digests)):
                return "a digest is malformed"
        case wire.Want():
            if not is_digest(message.digest) or not 0 <= message.size <= MAX_BLOB:
                return "a want that can't be: digest or size"
            if len(message.unreachable) > UNREACHABLE:
                return f"more than {UNREACHABLE} unreachable providers"
        case wire.LeaseProgress():
            if not is_digest(message.digest) or not 0 <= message.offset <= MAX_BLOB:
                return "progress that can't be: digest or offset"
        case wire.Unwant(digest=digest) | wire.LeaseRelease(digest=digest):
            if not is_digest(digest):
                return "a digest is malformed"
        case wire.ReferenceSeen():
            if not is_digest(message.digest) or not 0 <= message.size <= MAX_BLOB or not _age(message.age):
                return "a reference that can't be: digest, size or age"
            if not _short(message.repository, message.reference, message.media_type):
                return f"a name longer than {TEXT} characters"
        case wire.AskReference() | wire.ReferenceUnseen():
            if not _short(message.repository, message.reference):
                return f"a name longer than {TEXT} characters"
        case wire.IntentProgress():
            if message.state not in REPORTED or message.total < 0 or len(message.sources) > 8:
                return "progress of an intent that can't be: state, total or sources"
            if any(amount < 0 or len(name) > 32 for name, amount in message.sources):
                return "progress of an intent with sources that can't be"
        case _:
            return ""
    return ""


def _node_hello(hello: wire.NodeHello) -> str:
    if _NODE.fullmatch(hello.node) is None:
        return "a node id is 32 lower-case hex digits"
    if not 0 < len(hello.name) <= 253 or not hello.name.isprintable():
        return "a node's name is 1 to 253 printable characters"
    if _HOST.fullmatch(hello.host) is None:
        return "a node's host is a name or an address"
    if _ZONE.fullmatch(hello.zone) is None:
        return "a zone's name is at most 64 letters, digits, points, hyphens and underscores"
    if _ZONE.fullmatch(hello.rack) is None:
        return "a rack's name is at most 64 letters, digits, points, hyphens and underscores"
    return "" if 0 < hello.port < 65536 else "a node's port is 1 to 65535"


def _age(age: float) -> bool:
    return math.isfinite(age) and age >= 0


def _short(*texts: str) -> bool:
    return all(len(text) <= TEXT for text in texts)
