from __future__ import annotations

from collections.abc import Iterable

import pytest

from p2p.config import AuthSettings, RuleSettings
from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import ManifestRoute, parse_route
from p2p.errors import ConfigError
from p2p.registry.auth.api import ALL_ACTIONS, ANONYMOUS, CATALOG, Action, Grant, Principal
from p2p.registry.auth.rules import AccessRules


def test_a_pattern_that_means_nothing() -> None:
    with pytest.raises(ConfigError, match=r"repository pattern 'a//b'.*Write \"team-a"):
        rules(("a//b", "alice", "pull"))


def rules(*given: tuple[str, str, str], groups: dict[str, tuple[str, ...]] | None = None) -> AccessRules:
    """Rules of (repositories, subjects, actions), each a list with spaces."""
    settings = tuple(
        RuleSettings(
            repositories=tuple(globs.split()), subjects=tuple(who.split()), actions=tuple(what.split())
        )
        for globs, who, what in given
    )
    return AccessRules.from_settings(AuthSettings(rules=settings, groups=groups or {}))


def allowed(of: AccessRules, who: Principal, name: str) -> Iterable[str]:
    return {str(action) for action in Action if of.may(who, name, action)}


def test_nothing_configured_everybody_may_all() -> None:
    unguarded = AccessRules.from_settings(AuthSettings())
    assert allowed(unguarded, ANONYMOUS, "a/b") == {"pull", "push", "delete"}
    assert unguarded.may(ANONYMOUS, CATALOG, Action.PULL)
    assert unguarded.anonymous_may_something()


def test_what_no_rule_grants_is_refused() -> None:
    some = rules(("team-a/*", "alice", "pull push"))
    assert allowed(some, Principal("alice"), "team-a/x") == {"pull", "push"}
    assert not allowed(some, Principal("alice"), "team-b/x")
    assert not allowed(some, Principal("bob"), "team-a/x")
    assert not allowed(some, ANONYMOUS, "team-a/x")
    assert not some.anonymous_may_something()


def test_rules_add_up_in_any_order() -> None:
    first, second = ("**", "authenticated", "pull"), ("team-a/**", "@a", "push delete")
    for some in (rules(first, second), rules(second, first)):
        assert allowed(some, Principal("eve"), "team-a/x") == {"pull"}
        assert allowed(some, Principal("ann", frozenset({"a"})), "team-a/x") == {"pull", "push", "delete"}
        assert allowed(some, Principal("ann", frozenset({"a"})), "other") == {"pull"}


def test_what_anonymous_may_everybody_may() -> None:
    some = rules(("public/**", "anonymous", "pull"))
    assert some.anonymous_may_something()
    for who in (ANONYMOUS, Principal("alice")):
        assert allowed(some, who, "public/x") == {"pull"}
        assert not allowed(some, who, "x")


def test_configured_groups_add_to_those_of_tokens() -> None:
    some = rules(("**", "@ops", "*"), groups={"ops": ("alice",), "@dev": ("bob",)})
    assert allowed(some, Principal("alice"), "x") == {str(one) for one in ALL_ACTIONS}
    assert allowed(some, Principal("carol", frozenset({"ops"})), "x")
    assert not allowed(some, Principal("bob"), "x")


@pytest.mark.parametrize("name", ["@ops", "anonymous", "authenticated", "ops"])
def test_a_user_can_t_be_called_what_a_rule_says_of_others(name: str) -> None:
    assert not allowed(rules(("**", "@ops", "pull")), Principal(name), "x")
    only = rules(("a", "bob", "pull"))
    assert not allowed(only, Principal(name), "a")


def test_a_group_needs_a_name_to_be_in_it() -> None:
    assert not allowed(rules(("**", "@ops authenticated", "pull")), Principal("", frozenset({"ops"})), "x")


def test_grants_narrow_what_rules_allow_and_never_widen_it() -> None:
    some = rules(("team-a/**", "alice", "pull push"))
    grants = (Grant("team-a/x", frozenset({Action.PULL, Action.DELETE})), Grant("team-b/x", ALL_ACTIONS))
    assert allowed(some, Principal("alice", grants=grants), "team-a/x") == {"pull"}
    assert not allowed(some, Principal("alice", grants=grants), "team-b/x")
    assert not allowed(some, Principal("alice", grants=grants), "team-a/y")


def test_without_rules_only_grants_count() -> None:
    none = AccessRules.from_settings(AuthSettings(jwks="keys.json"))
    grants = (Grant("a", frozenset({Action.PULL})),)
    assert allowed(none, Principal("alice", grants=grants), "a") == {"pull"}
    assert not allowed(none, Principal("alice", grants=grants), "b")
    assert not allowed(none, Principal("alice"), "a")
    assert not allowed(none, ANONYMOUS, "a")
    assert not none.anonymous_may_something()


def test_a_word_about_private_content_names_the_client_or_the_upstream() -> None:
    here, there = "ghcr.io/org/app", "ghcr.io/org/app"
    alice, bob = Principal("alice"), Principal("bob", groups=frozenset({"team"}))

    def proven(of: AccessRules, who: Principal, action: Action = Action.PULL) -> bool:
        return of.proves(who, here, there, action)

    assert proven(rules(("**", "alice", "pull")), alice)
    assert proven(rules(("**", "@team", "pull")), bob)
    assert not proven(rules(("**", "@team", "pull")), alice)
    for everybody in ("anonymous", "authenticated"):
        for glob in ("**", "**/app", "*/org/app", "ghcr.*/org/**"):
            assert not proven(rules((glob, everybody, "pull")), alice)
        for glob in ("ghcr.io/org/app", "ghcr.io/**", "ghcr.io/*/*"):
            assert proven(rules((glob, everybody, "pull")), alice)
    assert proven(rules(("ghcr.io/**", "anonymous", "pull")), ANONYMOUS)
    assert not proven(rules(("ghcr.io/**", "authenticated", "pull")), ANONYMOUS)
    assert not proven(rules(("**", "alice", "pull")), alice, Action.PUSH)
    # No rules at all are a door left open, and no word about anything.
    assert not proven(AccessRules(unguarded=True), alice)
    grants = (Grant(here, frozenset({Action.PULL})),)
    none = AccessRules.from_settings(AuthSettings(jwks="keys.json"))
    assert proven(none, Principal(grants=grants))
    assert not proven(none, Principal(grants=grants), Action.PUSH)
    assert not proven(rules(("team/**", "alice", "pull")), Principal("alice", grants=grants))


def test_the_catalog_needs_all() -> None:
    assert rules(("**", "alice", "pull")).may(Principal("alice"), CATALOG, Action.PULL)
    assert not rules(("**/* * */**", "alice", "*")).may(Principal("alice"), CATALOG, Action.PULL)


@pytest.mark.parametrize(
    "name", ["", "team-a/", "team-a/..", "team-a/../b", "team-a//b", "./team-a", "team-a/."]
)
def test_a_name_that_is_none_is_never_allowed(name: str) -> None:
    everything = rules(("** team-a/* team-a/**", "alice", "*"))
    assert not allowed(everything, Principal("alice"), name)
    assert not allowed(AccessRules(unguarded=True), Principal("alice"), name)


@pytest.mark.parametrize(
    "path",
    [
        "team-a/../team-b",
        "team-a/%2e%2e/team-b",
        "team-a%2f..%2fteam-b",
        "team-a/..%2fteam-b",
        "team-a/./team-b",
        "team-a//team-b",
        "team-a\\..\\team-b",
        "team-a%5c..%5cteam-b",
        "team-a/%00/team-b",
        "TEAM-A/x",
        "team-a%252f..%252fteam-b",
        "team-a/x%20",
        "team-\u0430/x",  # a Cyrillic letter
    ],
)
def test_no_spelling_of_a_path_dodges_a_rule(path: str) -> None:
    """Either the route refuses it, or rules see the very name that is served."""
    mine = rules(("team-a/**", "alice", "pull"))
    try:
        route = parse_route("GET", f"/v2/{path}/manifests/1", "")
    except RegistryError:
        return
    assert isinstance(route, ManifestRoute)
    assert not mine.may(Principal("alice"), route.name, Action.PULL)


def test_an_encoded_letter_is_that_letter() -> None:
    route = parse_route("GET", "/v2/team%2da/x/manifests/1", "")
    assert isinstance(route, ManifestRoute)
    assert route.name == "team-a/x"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"repositories": ()}, "no repositories"),
        ({"subjects": ()}, "no subjects"),
        ({"actions": ()}, "no actions"),
        ({"subjects": ("",)}, "no subject"),
        ({"subjects": ("@",)}, "no subject"),
        ({"actions": ("read",)}, "no action"),
        ({"repositories": ("Team",)}, "lower-case"),
    ],
)
def test_rules_that_mean_nothing(changes: dict[str, tuple[str, ...]], cause: str) -> None:
    rule = {"repositories": ("**",), "subjects": ("a",), "actions": ("pull",)} | changes
    with pytest.raises(ConfigError, match=cause):
        AccessRules.from_settings(AuthSettings(rules=(RuleSettings(**rule),)))


def test_passwords_without_rules_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"auth\.rules: there are none.*Add one"):
        AccessRules.from_settings(AuthSettings(htpasswd="users"))
