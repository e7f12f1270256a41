"""What may be done with a repository or a tag, by globs over their names. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from p2p.core.oci.error import RegistryError
from p2p.core.oci.glob import Glob, GlobError, TagGlob
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2p.config import HostingSettings

Read = TypeVar("Read")


class Names:
    """Repository names that match any of some globs."""

    def __init__(self, globs: Iterable[str], setting: str) -> None:
        """``setting`` is named by the ConfigError for what is no glob."""
        self._globs = _parsed(globs, Glob.parse, setting, "team/**, team/* or app-*")

    def __contains__(self, name: object) -> bool:
        """Whether a name matches."""
        return isinstance(name, str) and any(glob.matches(name) for glob in self._globs)


class Policy:
    """``HostingSettings`` as questions. Names are those that requests use."""

    def __init__(self, settings: HostingSettings) -> None:
        self.hosted = Names(settings.repositories, "hosting.repositories")
        self.through = Names(settings.push_through, "hosting.push_through")
        self.deletes = settings.deletes
        self._denied = Names(settings.denied, "hosting.denied")
        self._immutable = _parsed(
            settings.immutable_tags, TagGlob.parse, "hosting.immutable_tags", "team/**:v*"
        )

    def admit(self, name: str) -> None:
        """RegistryError DENIED for a repository that nobody may use."""
        if name in self._denied:
            raise RegistryError(
                "DENIED", f"repository {name} is denied here", mend="See hosting.denied in the configuration"
            )

    @property
    def has_immutable(self) -> bool:
        """Whether there are immutable tags at all."""
        return bool(self._immutable)

    def immutable(self, name: str, tag: str) -> bool:
        """Whether a tag, once there, stays as it is."""
        return any(glob.matches(name, tag) for glob in self._immutable)

    def admit_delete(self, name: str, tag: str | None = None) -> None:
        """RegistryError where deletes are off, or the tag is immutable."""
        if not self.deletes:
            raise RegistryError(
                "UNSUPPORTED",
                "deletes are switched off on this node",
                {"allowed": ["GET", "HEAD", "PUT"]},
                mend="Set hosting.deletes = true",
            )
        if tag is not None and self.immutable(name, tag):
            raise RegistryError("DENIED", f"tag {name}:{tag} is immutable", mend="See hosting.immutable_tags")


def _parsed(
    texts: Iterable[str], parse: Callable[[str], Read], setting: str, example: str
) -> tuple[Read, ...]:
    read = []
    for text in texts:
        try:
            read.append(parse(text))
        except GlobError as error:
            raise ConfigError(setting, f"{text!r} {error}", f"Write it as {example}") from error
    return tuple(read)
