r"""The language of queries, read into values.

::

    query    = term { space term }          all terms must match
    term     = word | filter
    word     = text | '"' text '"'           begins a word of names, tags, annotations, artifact type
    filter   = "repository:" glob            * also stands for slashes
             | "tag:" glob
             | "digest:" text                a digest, or the beginning of one
             | "platform:" os [ "/" architecture [ "/" variant ] ]
             | "artifact-type:" glob | "media-type:" glob
             | "annotation:" key [ "=" value ]
             | "size:" comparison | "referrers:" comparison
             | "subject:" digest
    comparison = [ ">" | ">=" | "<" | "<=" | "=" ] number [ unit ]

A value may be quoted: ``annotation:org.opencontainers.image.title="two words"``. Everything is bounded, and
what is outside of this grammar is refused with a sentence: nothing of a query reaches the database as syntax.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, NoReturn

from p2p.core.oci.error import RegistryError, shown

MAX_LENGTH: Final = 1024
MAX_TERMS: Final = 16
MAX_WILDCARDS: Final = 4
"""Of one glob: each may make a comparison walk the text again."""
MAX_NUMBER: Final = (1 << 63) - 1

_TERM: Final = re.compile(r'((?:[^\s"]|"[^"]*")+)(?:\s+|$)')
_COMPARISON: Final = re.compile(r"(>=|<=|>|<|=)?([0-9]{1,18})(\.[0-9]{1,6})?([A-Za-z]{0,3})")
_PLATFORM: Final = re.compile(r"[a-z0-9_.-]{1,64}(?:/[a-z0-9_.-]{1,64}){0,2}")
_GLOB: Final = re.compile(r"[A-Za-z0-9_.:/+*?-]+")
_DIGEST: Final = re.compile(r"[a-z0-9]+(?::[0-9a-f]*)?")
_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
FILTERS: Final = (
    "repository",
    "tag",
    "digest",
    "platform",
    "artifact-type",
    "media-type",
    "annotation",
    "size",
    "referrers",
    "subject",
)


@dataclass(frozen=True, slots=True)
class Words:
    """Words in a row, without quotes; the last may be the beginning of a longer one."""

    text: str


@dataclass(frozen=True, slots=True)
class Glob:
    """A field (repository, tag, artifact-type, media-type) that matches a pattern of ``*`` and ``?``."""

    field: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Begins:
    """A digest or subject that begins so."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class OnPlatform:
    """A platform, or all below ``linux`` or ``linux/arm``."""

    platform: str


@dataclass(frozen=True, slots=True)
class Annotated:
    """An annotation, of this value unless it is None."""

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """A number of bytes (``size``) or of manifests (``referrers``). ``operator`` is one of SQL's."""

    field: str
    operator: str
    number: int


Term = Words | Glob | Begins | OnPlatform | Annotated | Compared


def parse_query(text: str) -> tuple[Term, ...]:
    """Read a query; RegistryError (status 400) says what is wrong with it. An empty one matches all."""
    if len(text) > MAX_LENGTH:
        _refuse(f"is longer than {MAX_LENGTH} characters")
    if any(unicodedata.category(character)[0] == "C" for character in text if character not in "\t\n\r"):
        _refuse("holds a character that is not text")
    terms: list[Term] = []
    position, text = 0, text.strip()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            _refuse("has a quote that does not end")
        terms.append(_term(match[1]))
        position = match.end()
    if len(terms) > MAX_TERMS:
        _refuse(f"has more than {MAX_TERMS} terms")
    return tuple(terms)


def _refuse(cause: str, mend: str = "See docs/search.md for what a query may be") -> NoReturn:
    raise RegistryError("UNSUPPORTED", f"the query {cause}", status=400, mend=mend)


def _term(text: str) -> Term:
    before_quote = text.partition('"')[0]
    name, colon, value = text.partition(":")
    if not colon or ":" not in before_quote:
        return _words(text)
    name, value = name.lower(), value.replace('"', "")
    if name not in FILTERS:
        _refuse(
            f"has a filter {shown(name)} that there is not",
            f"Filters are {', '.join(FILTERS)}; put text with a colon in quotes",
        )
    if not value:
        _refuse(f"says nothing after {name}:")
    match name:
        case "digest" | "subject":
            return Begins(name, _matched(_DIGEST, value, name))
        case "platform":
            return OnPlatform(_matched(_PLATFORM, value.lower(), name))
        case "annotation":
            key, equals, wanted = value.partition("=")
            return Annotated(key, wanted if equals else None)
        case "size" | "referrers":
            return _comparison(name, value)
        case _:
            return _glob(name, value)


def _words(text: str) -> Words:
    bare = unicodedata.normalize("NFC", text.replace('"', " ")).strip()
    if not any(map(str.isalnum, bare)):
        _refuse(f"has a word {shown(text)} without letters and digits")
    return Words(bare)


def _matched(pattern: re.Pattern[str], value: str, name: str) -> str:
    if pattern.fullmatch(value) is None:
        _refuse(f"has {shown(value)} for {name}, which is none")
    return value


def _glob(name: str, value: str) -> Glob:
    _matched(_GLOB, value, name)
    pattern = re.sub(r"\*+", "*", value)
    if pattern.count("*") > MAX_WILDCARDS:
        _refuse(f"has more than {MAX_WILDCARDS} wildcards in {name}")
    return Glob(name, pattern)


def _comparison(name: str, value: str) -> Compared:
    match = _COMPARISON.fullmatch(value)
    unit = None if match is None else _UNITS.get(match[4].lower())
    if match is None or unit is None or (name == "referrers" and (match[3] or match[4])):
        _refuse(f"has {shown(value)} for {name}, which is none", "Write it as >100MB, <=64KiB or =5")
    number = int(match[2]) * unit + (int(float(match[3]) * unit) if match[3] else 0)
    return Compared(name, match[1] or "=", min(number, MAX_NUMBER))
