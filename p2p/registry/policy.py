"""What may be done with a repository or a tag, by globs over their names. Pure.

In a glob ``*`` stands for any characters of one component of a name, ``**`` for any number of components, and
``?`` for one character. A glob matches a whole name or nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from p2p.core.oci.error import RegistryError
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2p.config import HostingSettings

_TOKEN = re.compile(r"\*\*/|/\*\*|\*\*|\*|\?|[^*?]")
_MEANING = {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Globs:
    """Names that match any of some globs."""

    def __init__(self, globs: Iterable[str], setting: str) -> None:
        """``setting`` is named by the ConfigError for a glob that is empty or begins with a slash."""
        self._patterns = []
        for glob in globs:
            if not glob or glob.startswith("/") or "//" in glob:
                raise ConfigError(setting, f"{glob!r} is no glob over names", "Write it as team/** or app-*")
            parts = (_MEANING.get(token) or re.escape(token) for token in _TOKEN.findall(glob))
            self._patterns.append(re.compile("".join(parts)))

    def __contains__(self, name: object) -> bool:
        """Whether a name matches."""
        return isinstance(name, str) and any(pattern.fullmatch(name) for pattern in self._patterns)

    def __bool__(self) -> bool:
        """Whether there is any glob."""
        return bool(self._patterns)


class Policy:
    """``HostingSettings`` as questions. Names are those that requests use."""

    def __init__(self, settings: HostingSettings) -> None:
        self.hosted = Globs(settings.repositories, "hosting.repositories")
        self.through = Globs(settings.push_through, "hosting.push_through")
        self.deletes = settings.deletes
        self._denied = Globs(settings.denied, "hosting.denied")
        self._immutable = Globs(settings.immutable_tags, "hosting.immutable_tags")

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
        return f"{name}:{tag}" in self._immutable

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
