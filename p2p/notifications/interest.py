"""What a sink wants to hear of."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from p2p.errors import ConfigError
from p2p.notifications.api import What

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.config import SinkSettings
    from p2p.notifications.api import Event, Happening


@dataclass(frozen=True, slots=True)
class Interest:
    """Filters; an empty one lets everything pass, and all must let an event pass."""

    actions: frozenset[What] = frozenset()
    repositories: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, settings: SinkSettings) -> Interest:
        """Read the filters of a sink; ConfigError for an action that there is not."""
        known = {what.value: what for what in What}
        for action in settings.actions:
            if action not in known:
                raise ConfigError(
                    f"sink {name}", f"there is no action {action!r}", f"Choose of: {', '.join(known)}"
                )
        return cls(
            frozenset(known[action] for action in settings.actions),
            settings.repositories,
            settings.media_types,
        )

    def covers(self, happening: Happening) -> bool:
        """Whether the sink is told. A deleted tag has no media type: only an empty filter lets it pass."""
        if self.actions and happening.what not in self.actions:
            return False
        media_type = "" if happening.target is None else happening.target.media_type
        return _any(self.repositories, happening.repository.path) and _any(self.media_types, media_type)

    def select(self, events: Sequence[Event]) -> Sequence[Event]:
        """Give those that the sink is told of."""
        return [event for event in events if self.covers(event.happening)]


def _any(globs: Sequence[str], text: str) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)
