"""Extension points: what other distributions bring, found by the entry points that they declare.

What each group's entry points must be is described in docs/extending.md.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

SINKS: Final = "remora.sinks"
EXTENSIONS: Final = "remora.extensions"
AUTHENTICATORS: Final = "remora.authenticators"
PROVIDERS: Final = "remora.providers"
DRIVERS: Final = "remora.drivers"
METADATA: Final = "remora.metadata"
CONTENT: Final = "remora.content"


def names(group: str) -> Sequence[str]:
    """Name all that is installed for a group, in order."""
    return sorted(entry_points(group=group).names)


def load(group: str, name: str) -> object:
    """Import what ``name`` stands for in a group.

    ConfigError where nothing does, where two distributions bring different ones, and where it can't be
    imported: the message names the entry point and the distribution.
    """
    found = {point.value: point for point in entry_points(group=group, name=name)}
    if not found:
        known = ", ".join(names(group)) or "none"
        raise ConfigError(
            f"{group} {name}",
            "nothing of this name is installed",
            f"Install the package that brings it, or choose of: {known}",
        )
    if len(found) > 1:
        owners = ", ".join(sorted(distribution(point) for point in found.values()))
        raise ConfigError(
            f"{group} {name}", f"several distributions bring it: {owners}", "Remove all but one"
        )
    (point,) = found.values()
    try:
        return point.load()
    except Exception as error:  # other people's code: whatever it raises as it is imported is told by name
        raise ConfigError(
            f"{group} {name}",
            f"{point.value} of {distribution(point)} can't be loaded: {type(error).__name__}: {error}",
            "Reinstall the package that brings it, or remove it",
        ) from error


def distribution(point: EntryPoint) -> str:
    """Name the distribution that an entry point comes from."""
    return "an unknown distribution" if point.dist is None else point.dist.name
