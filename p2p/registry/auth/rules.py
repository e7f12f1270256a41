"""Access rules: who may do what with which repositories. Pure.

Rules only grant, and what no rule grants is refused: their order says nothing, and another name for a
repository (an alias of its upstream) can't dodge a rule, because there is none that forbids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from p2p.core.oci.glob import EVERYTHING, Glob, GlobError
from p2p.errors import ConfigError
from p2p.registry.auth.api import ALL_ACTIONS, ANONYMOUS, CATALOG, Action, Principal

if TYPE_CHECKING:
    from p2p.config import AuthSettings, RuleSettings

ANYONE: Final = "anonymous"
LOGGED_IN: Final = "authenticated"
GROUP_MARK: Final = "@"

_GROUP: Final = re.compile(r"@[^\s@]+")


@dataclass(frozen=True, slots=True)
class Rule:
    """Lets ``subjects`` do ``actions`` with the repositories that a glob covers."""

    globs: tuple[Glob, ...]
    subjects: frozenset[str]
    actions: frozenset[Action]

    @classmethod
    def parse(cls, settings: RuleSettings, where: str) -> Rule:
        """Read one rule; raises ConfigError that names ``where``."""
        for what, values in (
            ("repositories", settings.repositories),
            ("subjects", settings.subjects),
            ("actions", settings.actions),
        ):
            if not values:
                raise ConfigError(where, f"has no {what}", "A rule needs repositories, subjects and actions")
        for subject in settings.subjects:
            if not subject or (subject.startswith(GROUP_MARK) and _GROUP.fullmatch(subject) is None):
                raise ConfigError(
                    where,
                    f"{subject!r} is no subject",
                    f"Write a user's name, @group, {ANYONE} or {LOGGED_IN}",
                )
        globs = tuple(_glob(text) for text in settings.repositories)
        return cls(globs, frozenset(settings.subjects), _actions(settings.actions, where))

    def below(self, registry: str) -> Rule:
        """Give the rule with those globs alone that begin with this registry's name."""
        return replace(self, globs=tuple(g for g in self.globs if g.text.partition("/")[0] == registry))

    def covers(self, repository: str) -> bool:
        """Whether it speaks of this repository; of ``CATALOG`` only by ``**``."""
        if repository == CATALOG:
            return any(glob.text == EVERYTHING for glob in self.globs)
        return any(glob.matches(repository) for glob in self.globs)


def _glob(text: str) -> Glob:
    try:
        return Glob.parse(text)
    except GlobError as error:
        raise ConfigError(
            f"repository pattern {text!r}", str(error), 'Write "team-a/*", "team-a/**", "**/base" or "**"'
        ) from error


def _actions(names: tuple[str, ...], where: str) -> frozenset[Action]:
    found: set[Action] = set()
    for name in names:
        if name == "*":
            found |= ALL_ACTIONS
        elif name in ALL_ACTIONS:
            found.add(Action(name))
        else:
            raise ConfigError(where, f"{name!r} is no action", "Choose from pull, push, delete and *")
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """All rules. ``unguarded``: no authentication and no rules were configured, everybody may do all.

    Without any rule only tokens that carry grants of their own allow anything; with rules these allow
    what both they and the rules do. ``groups`` are the configured ones, added to those of tokens.
    """

    rules: tuple[Rule, ...] = ()
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unguarded: bool = False

    @classmethod
    def from_settings(cls, settings: AuthSettings, *, asked: bool = False) -> AccessRules:
        """Read the rules; raises ConfigError. ``asked``: there are authenticators besides these settings'."""
        rules = tuple(Rule.parse(rule, f"auth.rules[{number}]") for number, rule in enumerate(settings.rules))
        if settings.htpasswd and not rules:
            raise ConfigError(
                "auth.rules",
                "there are none, so that nobody in auth.htpasswd could do anything",
                'Add one, as [[auth.rules]] repositories = ["**"], subjects = ["authenticated"], '
                'actions = ["pull", "push"]',
            )
        groups = {name.removeprefix(GROUP_MARK): frozenset(users) for name, users in settings.groups.items()}
        return cls(rules, groups, unguarded=not (asked or settings.htpasswd or settings.jwks or rules))

    def may(self, principal: Principal, repository: str, action: Action) -> bool:
        """Whether credentials and rules allow this. ``repository`` as the client names it, or ``CATALOG``."""
        return principal.covers(repository, action) and self.permits(principal, repository, action)

    def permits(self, principal: Principal, repository: str, action: Action) -> bool:
        """Whether the rules allow this, credentials that carry their own grants aside."""
        if any(part in ("", ".", "..") for part in repository.split("/")):
            return False  # the route's grammar refuses these already; a rule must not depend on that
        if self.unguarded:
            return True
        if not self.rules:
            return principal.grants is not None
        return any(
            action in rule.actions and self._meant(rule, principal) and rule.covers(repository)
            for rule in self.rules
        )

    def proves(self, principal: Principal, repository: str, canonical: str, action: Action) -> bool:
        """Whether what allows this is a word about private content, and not a door left open for all.

        A grant of the credentials themselves is one: it names the repository. A rule is one that names the
        client (a user or a group), or, for everybody or whoever logged in, the upstream: its glob begins
        with ``canonical``'s registry. ``repository`` is what the client calls it. What is asked for must be
        allowed in the first place.
        """
        if self.unguarded or not self.may(principal, repository, action):
            return False
        if principal.grants is not None:
            return True
        registry = canonical.partition("/")[0]
        return any(
            action in rule.actions
            and (
                (self._meant(rule, principal, named=True) and rule.covers(repository))
                or (self._meant(rule, principal) and rule.below(registry).covers(canonical))
            )
            for rule in self.rules
        )

    def anonymous_may_something(self) -> bool:
        """Whether a client without credentials could ever be let through."""
        return self.unguarded or any(self._meant(rule, ANONYMOUS) for rule in self.rules)

    def _meant(self, rule: Rule, principal: Principal, *, named: bool = False) -> bool:
        """Whether a rule is for somebody, or (``named``) names them. What anonymous may do, everybody may."""
        for subject in rule.subjects:
            if subject == ANYONE and not named:
                return True
            if not principal.name or subject == ANYONE:
                continue
            if subject == LOGGED_IN:
                if named:
                    continue
                return True
            if subject.startswith(GROUP_MARK):
                group = subject.removeprefix(GROUP_MARK)
                if group in principal.groups or principal.name in self.groups.get(group, ()):
                    return True
            elif subject == principal.name:
                return True
        return False
