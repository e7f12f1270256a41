from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.registry.auth.api import ALL_ACTIONS, CATALOG, Action, Grant, Principal
from p2p.registry.auth.claims import MAX_ENTRIES, principal_of

PULL = frozenset({Action.PULL})


def entry(name: str = "a/b", *actions: str, kind: str = "repository") -> dict[str, Any]:
    return {"type": kind, "name": name, "actions": list(actions)}


@pytest.mark.parametrize(
    ("claims", "principal"),
    [
        ({"sub": "alice"}, Principal("alice")),
        ({"sub": "alice", "groups": ["a", "b"]}, Principal("alice", frozenset("ab"))),
        ({"sub": "alice", "access": []}, Principal("alice", grants=())),
        ({"sub": "alice", "access": None}, Principal("alice", grants=())),
        ({"access": [entry("a/b", "pull")]}, Principal(grants=(Grant("a/b", PULL),))),
        ({"sub": "", "groups": ["a"], "access": []}, Principal(grants=())),
        ({"access": [entry("a", "*")]}, Principal(grants=(Grant("a", ALL_ACTIONS),))),
        ({"access": [entry("a", "pull", "fly")]}, Principal(grants=(Grant("a", PULL),))),
        (
            {"access": [entry("catalog", "*", kind="registry")]},
            Principal(grants=(Grant(CATALOG, ALL_ACTIONS),)),
        ),
        (
            {"access": [entry("x", "*", kind="registry"), entry("a", "*", kind="plugin")]},
            Principal(grants=()),
        ),
        (
            {"access": [{"type": "repository", "name": "a", "actions": None}]},
            Principal(grants=(Grant("a", frozenset()),)),
        ),
    ],
)
def test_claims(claims: dict[str, Any], principal: Principal) -> None:
    assert principal_of(claims) == principal


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["alice"]},
        {"sub": "alice", "groups": "admins"},
        {"sub": "alice", "groups": [1]},
        {"sub": "alice", "groups": ["g"] * (MAX_ENTRIES + 1)},
        {"sub": "alice", "access": "all"},
        {"sub": "alice", "access": {}},
        {"sub": "alice", "access": ["a"]},
        {"sub": "alice", "access": [{}]},
        {"sub": "alice", "access": [entry("a", "pull"), {"type": "repository", "name": 7, "actions": []}]},
        {"sub": "alice", "access": [{"type": "repository", "name": "a", "actions": "pull"}]},
        {"sub": "alice", "access": [entry()] * (MAX_ENTRIES + 1)},
    ],
)
def test_a_malformed_claim_makes_the_token_worthless(claims: dict[str, Any]) -> None:
    assert principal_of(claims) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["repository", "pull"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "name", "actions", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["sub", "groups", "access"]), JSON))
def test_no_claims_raise(claims: dict[str, Any]) -> None:
    principal = principal_of(claims)
    if principal is not None and "access" in claims:
        assert principal.grants is not None, "a token with an access claim must stay bounded by it"
