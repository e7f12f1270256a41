from __future__ import annotations

from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import validate_path
from p2p.registry.auth.api import ANONYMOUS, CATALOG, Action, Grant, Principal


def test_who_is_identified() -> None:
    assert not ANONYMOUS.identified
    assert Principal("alice").identified
    assert Principal(grants=()).identified, "a token without a name is credentials all the same"


def test_grants_are_the_most_that_credentials_allow() -> None:
    assert Principal("alice").covers("a", Action.PUSH)
    narrow = Principal(
        "alice", grants=(Grant("a", frozenset({Action.PULL})), Grant("b/*", frozenset(Action)))
    )
    assert narrow.covers("a", Action.PULL)
    assert not narrow.covers("a", Action.PUSH)
    assert not narrow.covers("b/c", Action.PULL), "grants have no wildcards"
    assert not Principal("alice", grants=()).covers("a", Action.PULL)


def test_the_catalog_is_no_repository() -> None:
    try:
        validate_path(CATALOG)
    except RegistryError:
        return
    raise AssertionError
