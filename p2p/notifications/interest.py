"""What a sink wants to hear of."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from p2p.core.oci.glob import Glob, GlobError
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
    repositories: tuple[Glob, ...] = ()
    media_types: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, settings: SinkSettings) -> Interest:
        """Read the filters of a sink; ConfigError for an action or a glob that is none."""
        known = {what.value: what for what in What}
        for action in settings.actions:
            if action not in known:
                raise ConfigError(
                    f"sink {name}", f"there is no action {action!r}", f"Choose of: {', '.join(known)}"
                )
        return cls(
            frozenset(known[action] for action in settings.actions),
            tuple(_glob(name, text) for text in settings.repositories),
            settings.media_types,
        )

    def covers(self, happening: Happening) -> bool:
        """Whether the sink is told. A deleted tag has no media type: only an empty filter lets it pass."""
        if self.actions and happening.what not in self.actions:
            return False
        media_type = "" if happening.target is None else happening.target.media_type
        if self.media_types and not any(fnmatchcase(media_type, glob) for glob in self.media_types):
            return False
        path = happening.repository.path
        return not self.repositories or any(glob.matches(path) for glob in self.repositories)

    def select(self, events: Sequence[Event]) -> Sequence[Event]:
        """Give those that the sink is told of."""
        return [event for event in events if self.covers(event.happening)]


def _glob(name: str, text: str) -> Glob:
    try:
        return Glob.parse(text)
    except GlobError as error:
        raise ConfigError(
            f"sink {name}", f"repository pattern {text!r} {error}", 'Write "team/*", "team/**" or "**/app"'
        ) from error
