"""Globs over repository names: one meaning wherever settings name repositories.

``?`` stands for one character of a component, ``*`` for any characters of one component (a whole component
``*`` for at least one character), a whole component ``**`` for any number of components: at least one at the
end (``team/**`` is not ``team``), maybe none elsewhere. A glob matches a whole name or nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING: Final = "**"

_COMPONENT: Final = re.compile(r"[a-z0-9._:*?-]+")
_TAG: Final = re.compile(r"[A-Za-z0-9._*?-]+")


class GlobError(ValueError):
    """A text that is no glob; the message says why, as the end of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern of repository names. Matching takes time linear in the name, whatever the pattern."""

    text: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Glob:
        """Read a pattern; raises GlobError."""
        parts = text.split("/")
        for part in parts:
            if part in (".", "..") or _COMPONENT.fullmatch(part) is None:
                raise GlobError("is not made of lower-case names, *, ** and ?")
            if "**" in part and part != "**":
                raise GlobError("has ** as a part of a component")
        return cls(text, re.compile("".join(_joined(parts))))

    def matches(self, name: str) -> bool:
        """Whether it covers this name."""
        return self.pattern.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class TagGlob:
    """A pattern of ``repository:tag``: a glob over names, a colon, and a component for the tag."""

    repository: Glob
    tag: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> TagGlob:
        """Read a pattern; raises GlobError."""
        repository, colon, tag = text.rpartition(":")
        if not colon or _TAG.fullmatch(tag) is None or "**" in tag:
            raise GlobError("does not end in a colon and a tag")
        return cls(Glob.parse(repository), re.compile(_component(tag)))

    def matches(self, name: str, tag: str) -> bool:
        """Whether it covers this tag of this repository."""
        return self.tag.fullmatch(tag) is not None and self.repository.matches(name)


def _joined(parts: list[str]) -> Iterator[str]:
    # No part gives back what it took: the leftmost place where a run of components fits leaves most of the
    # name to the rest, so no other place need be tried, and matching can't take exponential time.
    *front, last = parts
    run: list[str] = []
    floating = False
    for part in front:
        if part != "**":
            run.append(f"(?>{_component(part)}/)")
            continue
        yield _placed(run, floating=floating)
        run, floating = [], True
    if last == "**":
        yield _placed(run, floating=floating)
        yield "(?:[^/]++/)*+[^/]++"
    else:
        run.append(_component(last))
        yield ("(?:[^/]++/)*?" if floating else "") + "".join(run)


def _placed(run: list[str], *, floating: bool) -> str:
    if not run or not floating:
        return "".join(run)
    return f"(?>(?:[^/]++/)*?{''.join(run)})"


def _component(text: str) -> str:
    if text == "*":
        return "[^/]+"
    first, *rest = (re.escape(piece).replace(r"\?", "[^/]") for piece in text.split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + "[^/]*" + last
