"""Who asks and what for, as values; and the seam of those that find out who asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

CATALOG: Final = "registry:catalog"
"""What a list of all repositories is guarded as. No repository has a colon in its name."""


class Action(StrEnum):
    """What can be done with a repository; the words are those of token scopes."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


ALL_ACTIONS: Final = frozenset(Action)


@dataclass(frozen=True, slots=True)
class Grant:
    """One entry of a token: these actions on this very repository (or ``CATALOG``); no wildcards."""

    repository: str
    actions: frozenset[Action]


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody. ``name`` is empty for anonymous ones, who are in no group.

    ``grants`` is None for somebody who may do whatever the rules allow, and otherwise the most that the
    credentials allow, whatever the rules say.
    """

    name: str = ""
    groups: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] | None = None

    @property
    def identified(self) -> bool:
        """Whether valid credentials were given, if only a token that names nobody."""
        return bool(self.name) or self.grants is not None

    def covers(self, repository: str, action: Action) -> bool:
        """Whether the credentials themselves allow this."""
        return self.grants is None or any(
            grant.repository == repository and action in grant.actions for grant in self.grants
        )


ANONYMOUS: Final = Principal()


class Authenticator(Protocol):
    """Finds out who asks, and says how to prove it."""

    async def authenticate(self, authorization: str) -> Principal | None:
        """Say who gave this ``Authorization`` header; None where that proves nobody. Never raises for it."""
        ...

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        """Give the ``WWW-Authenticate`` values of a 401; none where credentials make no difference.

        ``scope`` is what is needed, as ``repository:<name>:pull,push``, empty for nothing in particular.
        ``error`` says what is wrong with the token that was given (RFC 6750, 3.1).
        """
        ...
