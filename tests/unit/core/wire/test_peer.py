"""The peers' messages: their tags and the order of their fields are the protocol."""

from __future__ import annotations

from typing import get_args

from msgspec.structs import fields

from p2p.core.wire.peer import PeerMessage

SHAPES = {
    "hello": "version node name port zone together",
    "sub": "digest list_length list_id",
    "unsub": "digest",
    "state": "digest size complete have",
    "absent": "digest",
    "have": "digest chunks",
    "mid": "digest start states list_id",
    "known": "digest addresses",
    "streams": "digest node quiet over",
    "find": "request repository reference",
    "found": "request digest media_type size age",
}


def test_shapes() -> None:
    """Fields may be appended here, with a default; nothing else may change without a new version."""
    members = get_args(PeerMessage)
    actual = {cls.__struct_config__.tag: " ".join(info.name for info in fields(cls)) for cls in members}
    assert actual == SHAPES
    assert len(actual) == len(members)


def test_all_are_frozen_arrays() -> None:
    for cls in get_args(PeerMessage):
        assert cls.__struct_config__.frozen
        assert cls.__struct_config__.array_like
