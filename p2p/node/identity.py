"""Who this node is: an id that outlives restarts, kept in its state directory."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from p2p.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "node-id"
LENGTH = 32


def node_id(state: Path) -> str:
    """Give the node's id, 32 hex digits, making it on the first start. LocalError where it can't be kept."""
    path = state / FILE
    try:
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            known = path.read_text("ascii").strip()
        except FileNotFoundError:
            known = secrets.token_hex(LENGTH // 2)
            fresh = path.with_suffix(".new")
            fresh.write_text(f"{known}\n", "ascii")
            fresh.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(
            f"state directory {state}",
            f"can't be used: {error}",
            "Name a directory that this user may write to, with `state` or --state.",
        ) from error
    if len(known) != LENGTH or not all(c in "0123456789abcdef" for c in known):
        raise LocalError(str(path), "is not a node id", "Remove the file: the node takes a new id.")
    return known
