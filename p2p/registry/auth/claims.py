"""What a verified token says, as a principal. Pure.

``sub`` is the user, ``groups`` a list of names. ``access`` is that of distribution's token specification,
``[{"type": "repository", "name": "team/app", "actions": ["pull"]}]``: where it is there, if empty, the
token allows this and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from p2p.registry.auth.api import ALL_ACTIONS, CATALOG, Action, Grant, Principal

MAX_ENTRIES: Final = 1000
"""Groups, or grants, of one token."""


def principal_of(claims: Mapping[str, Any]) -> Principal | None:
    """Read the claims; None where they are malformed or say neither who it is nor what is allowed.

    A claim that can't be understood makes the token worthless, rather than one that says less, or more.
    """
    name = claims.get("sub") or ""
    groups = claims.get("groups", [])
    if not isinstance(name, str) or not _is_list_of(groups, str):
        return None
    grants: tuple[Grant, ...] | None = None
    if "access" in claims:
        entries = claims["access"]
        if entries is None:  # what Go's encoder makes of an empty list
            entries = []
        if not _is_list_of(entries, dict):
            return None
        read = [_grant(entry) for entry in entries]
        if not all(isinstance(grant, Grant | str) for grant in read):
            return None
        grants = tuple(grant for grant in read if isinstance(grant, Grant))
    if not name and grants is None:
        return None
    return Principal(name, frozenset(groups) if name else frozenset(), grants)


def _grant(entry: Mapping[str, Any]) -> Grant | str | None:
    """Read one entry: its type where it is about something else than this registry's content."""
    kind, name, actions = entry.get("type"), entry.get("name"), entry.get("actions")
    if not isinstance(kind, str) or not isinstance(name, str):
        return None
    if actions is None:
        actions = []
    if not _is_list_of(actions, str):
        return None
    known = frozenset(Action(action) for action in actions if action in ALL_ACTIONS)
    if "*" in actions:
        known = ALL_ACTIONS
    if kind == "repository":
        return Grant(name, known)
    if kind == "registry" and name == "catalog":
        return Grant(CATALOG, known)
    return kind


def _is_list_of(value: object, kind: type) -> bool:
    return (
        isinstance(value, list) and len(value) <= MAX_ENTRIES and all(isinstance(one, kind) for one in value)
    )
