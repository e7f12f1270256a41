"""The tracker's settings: defaults, then a TOML file, then the environment, then flags; the later wins.

A variable is ``REMORA_TRACKER_`` and the setting in capitals: ``REMORA_TRACKER_LISTEN``. Lists have commas.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "REMORA_TRACKER_"
LEVELS = ("debug", "info", "warning", "error")
SCOPES = ("cluster", "zone")
FORMATS = ("auto", "console", "json")


class TrackerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that ``remora tracker`` can be told."""

    listen: str = "127.0.0.1:5010"
    insecure: bool = False
    """Listen beyond loopback though nobody is authenticated (a trusted network)."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which browsers may open the dashboard, besides localhost and addresses."""
    lease_scope: str = "cluster"
    """Who shares one stream of a blob from its origin: the ``cluster``, or each ``zone`` by itself."""
    zone_copies: float = 2.0
    """Copies of a blob that may come into a zone: one is needed, what is lost comes again. 0: any."""
    log_level: str = "info"
    log_format: str = "auto"
    """``json``, ``console``, or ``auto``: console on a terminal."""


def load(file: str | None, environ: Mapping[str, str], flags: Mapping[str, object | None]) -> TrackerSettings:
    """Read all sources; flags that are None were not given. ConfigError names the source and the mend."""
    file = file or environ.get(f"{PREFIX}CONFIG")
    table: dict[str, Any] = dict(_fit(_read(Path(file)), f"configuration file {file}")) if file else {}
    table.update(_from_environment(environ))
    table.update(_fit({key: value for key, value in flags.items() if value is not None}, "flags"))
    settings = msgspec.convert(table, TrackerSettings)
    _choice("lease_scope", settings.lease_scope, SCOPES)
    if settings.zone_copies and not 1 <= settings.zone_copies <= 1000:
        raise ConfigError(
            "zone_copies", f"{settings.zone_copies:g} is not 0 and not 1 to 1000", "Leave it at 2"
        )
    _choice("log_level", settings.log_level, LEVELS)
    _choice("log_format", settings.log_format, FORMATS)
    return settings


def dump(settings: TrackerSettings) -> str:
    """Write settings as TOML that ``load`` reads."""
    # For text, truth values and lists of text JSON is TOML, but for DEL, which no setting takes.
    table = msgspec.to_builtins(settings)
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())


def _read(path: Path) -> dict[str, Any]:
    subject = f"configuration file {path}"
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise ConfigError(subject, "there is no such file", "Check --config") from error
    except OSError as error:
        raise ConfigError(subject, f"can't be read: {error.strerror}", "Check its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(subject, "is not UTF-8 text", "Save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(subject, f"is not TOML: {error}", "Mend that line") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name in sorted(environ):
        key = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or key == "config":
            continue
        text = environ[name]
        value: object = text
        if key == "allowed_hosts":
            value = tuple(part.strip() for part in text.split(",") if part.strip())
        elif key == "insecure":
            value = _truth(name, text)
        elif key == "zone_copies":
            value = _number(name, text)
        table.update(_fit({key: value}, f"variable {name}"))
    return table


def _truth(name: str, text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ConfigError(f"variable {name}", f"{text!r} is neither true nor false", "Write true or false")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"variable {name}", f"{text!r} is no number", "Write it like 2") from None


def _fit(table: Mapping[str, object], source: str) -> Mapping[str, object]:
    """Check one source by itself, so that an error names it."""
    try:
        msgspec.convert(dict(table), TrackerSettings)
    except msgspec.ValidationError as error:
        known = ", ".join(TrackerSettings.__struct_fields__)
        raise ConfigError(source, str(error), f"Settings are: {known}") from error
    return table


def _choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(key, f"{value!r} is none of its values", f"Use one of {', '.join(choices)}")
