"""The tracker's messages: their tags and the order of their fields are the protocol."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from msgspec.structs import fields

from p2p.core.wire.tracker import FromTracker, ToTracker

TO_TRACKER = {
    "hello": "version node name host port zone rack",
    "client": "version",
    "announce": "holdings",
    "withdraw": "digests",
    "want": "digest size lease unreachable rank",
    "unwant": "digest keep",
    "progress": "digest epoch offset rank",
    "release": "digest epoch done",
    "seen": "repository reference digest media_type size age",
    "unseen": "repository reference",
    "ask": "request repository reference fresh max_age",
    "prefetch": "images nodes",
    "cancel": "job",
    "intent-progress": "job image state total sources detail",
    "list": "",
}
FROM_TRACKER = {
    "welcome": "version announce_every host",
    "plan": "digest size providers lease epoch holder expires_in",
    "stand": "digests",
    "lost": "digest epoch",
    "answer": "request digest media_type size age lease",
    "intent": "job images",
    "intent-cancel": "job",
    "job": "job rows done",
    "nodes": "rows",
    "refused": "reason",
}


@pytest.mark.parametrize(("union", "shapes"), [(ToTracker, TO_TRACKER), (FromTracker, FROM_TRACKER)])
def test_shapes(union: Any, shapes: dict[str, str]) -> None:
    """Fields may be appended here, with a default; nothing else may change without a new version."""
    members = get_args(union)
    actual = {cls.__struct_config__.tag: " ".join(info.name for info in fields(cls)) for cls in members}
    assert actual == shapes
    assert len(actual) == len(members)


@pytest.mark.parametrize("union", [ToTracker, FromTracker])
def test_all_are_frozen_arrays(union: Any) -> None:
    for cls in get_args(union):
        assert cls.__struct_config__.frozen
        assert cls.__struct_config__.array_like
