"""Fit loose values (TOML, environment) to the settings' types, with errors that name the key.

Where a setting is a size, a rate, a duration or a share, text with a unit is taken too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

import msgspec

from p2p.cli.units import parse_duration, parse_rate, parse_share, parse_size
from p2p.config import NodeSettings
from p2p.errors import ConfigError

SIZES: Final = frozenset({"header_bytes", "manifest_bytes", "quota", "memory"})
RATES: Final = frozenset({"minimum_rate", "up", "down", "origin", "prefetch"})
DURATIONS: Final = frozenset(
    {
        "header_timeout",
        "idle_timeout",
        "body_timeout",
        "drain_timeout",
        "first_byte_timeout",
        "connect_timeout",
        "read_timeout",
        "stale_if_error",
        "grace",
        "upload_expiry",
        "unreferenced_grace",
        "collect_interval",
        "max_age",
        "backoff",
        "backoff_limit",
        "timeout",
        "period",
    }
)
ONE_OR_MORE: Final = frozenset({"tracker"})
"""Lists of which one element may be given without brackets."""

SHARES: Final = frozenset({"minimum_free", "high_water", "low_water", "share"})

Path = tuple[str, ...]
StructType = type[msgspec.Struct]


def dotted(path: Path) -> str:
    """Write a key path as TOML does: ``upstreams."docker.io".url``."""
    return ".".join(
        f'"{part}"' if not part.replace("_", "").replace("-", "").isalnum() else part for part in path
    )


def fields(struct: StructType) -> dict[str, Any]:
    """Name → type of a settings struct."""
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def suggest(name: str, known: Mapping[str, object]) -> str:
    """Give the mend for an unknown key: the nearest one, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(known))}"


def is_struct(kind: object) -> bool:
    """Whether a field's type is a table of its own."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def fit(raw: Mapping[str, object], source: str, root: StructType = NodeSettings) -> dict[str, Any]:
    """Check and convert one source's table to what ``root`` takes; what it leaves out stays out.

    Raises ConfigError with ``source`` and the key path for unknown keys and wrong types.
    """
    return _table(raw, root, (), source)


def _table(raw: Mapping[str, object], struct: StructType, path: Path, source: str) -> dict[str, Any]:
    known = fields(struct)
    fitted: dict[str, Any] = {}
    for key, value in raw.items():
        here = (*path, key)
        if key not in known:
            raise ConfigError(source, f"there is no setting {dotted(here)}", suggest(key, known))
        fitted[key] = _fitted(value, known[key], here, source)
    return fitted


def _fitted(value: object, kind: Any, path: Path, source: str) -> object:
    if is_struct(kind):
        return _table(_mapping(value, path, source), kind, path, source)
    if get_origin(kind) is dict:
        below = get_args(kind)[1]
        return {
            name: _fitted(entry, below, (*path, name), source)
            for name, entry in _mapping(value, path, source).items()
        }
    if _is_list_of_tables(kind):
        if not isinstance(value, list):
            raise ConfigError(
                source, f"{dotted(path)} must be a list of tables, not {value!r}", f"Write [[{dotted(path)}]]"
            )
        below = get_args(kind)[0]
        return [_fitted(entry, below, (*path, str(n)), source) for n, entry in enumerate(value)]
    return _scalar(value, kind, path, source)


def _is_list_of_tables(kind: object) -> bool:
    return get_origin(kind) is tuple and is_struct(get_args(kind)[0])


def _mapping(value: object, path: Path, source: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(source, f"{dotted(path)} must be a table, not {value!r}", f"Write [{dotted(path)}]")
    return value


def _unit(name: str) -> Callable[[str], int | float] | None:
    if name in SIZES:
        return parse_size
    if name in RATES:
        return parse_rate
    if name in DURATIONS:
        return parse_duration
    return parse_share if name in SHARES else None


def _scalar(value: object, kind: Any, path: Path, source: str) -> object:
    unit = _unit(path[-1])
    try:
        if unit is not None and isinstance(value, str):
            value = unit(value)
        if path[-1] in ONE_OR_MORE and isinstance(value, str):
            value = [value] if value else []
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(source, f"{dotted(path)}: {error}", _example(kind)) from error


def _example(kind: object) -> str:
    if kind is bool:
        return "Write true or false"
    if kind is str:
        return "Put it in quotes"
    return 'Write a list of texts: ["a", "b"]' if get_origin(kind) is tuple else "Write a number"


def fit_text(text: str, path: Path, source: str, root: StructType = NodeSettings) -> dict[str, Any]:
    """Convert one setting that came as text (environment, flags) to a table with that key alone.

    Truth values: ``true``/``false``, ``1``/``0``, ``yes``/``no``, ``on``/``off``. Lists: commas between.
    Tables, and lists of tables: as TOML writes them in one line.
    """
    value: object = text
    kind: Any = root
    for index, part in enumerate(path):
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif is_struct(kind) and part in fields(kind):
            kind = fields(kind)[part]
        elif is_struct(kind):
            raise ConfigError(
                source, f"there is no setting {dotted(path[: index + 1])}", suggest(part, fields(kind))
            )
        else:
            raise ConfigError(source, f"{dotted(path[:index])} is not a table", "Shorten the name")
    if kind is bool:
        truth = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False}
        value = {**truth, "off": False}.get(text.strip().lower(), text)
    elif get_origin(kind) is tuple and not _is_list_of_tables(kind):
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif is_struct(kind) or get_origin(kind) in (dict, tuple):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                source, f"not a TOML inline table: {error}", 'Write {name = "value"}'
            ) from error
    elif kind in (int, float) and _unit(path[-1]) is None:
        try:
            value = kind(text)
        except ValueError as error:
            raise ConfigError(
                source, f"{dotted(path)}: {text!r} is not a number", "Write a number"
            ) from error
    nested: dict[str, object] = {path[-1]: value}
    for part in reversed(path[:-1]):
        nested = {part: nested}
    return fit(nested, source, root)
