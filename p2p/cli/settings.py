"""A node's settings: defaults, then the file, then the environment, then flags; the later wins.

The file is ``--config``, else ``$REMORA_CONFIG``, else ``/etc/remora/node.toml`` if it is there. A
variable is ``REMORA_`` and the key path in capitals, with two underscores between its parts:
``REMORA_TRACKER``, ``REMORA_REGISTRY__LISTEN``, ``REMORA_STORE__QUOTA=10GiB``; lists have commas between;
``REMORA_UPSTREAMS`` is a TOML inline table.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from p2p.cli.shape import dotted, fields, fit, fit_text
from p2p.cli.validate import validate
from p2p.config import WELL_KNOWN, NodeSettings
from p2p.errors import ConfigError

DEFAULT_FILE: Final = Path("/etc/remora/node.toml")
DEFAULT_STATE: Final = Path("/var/lib/remora")
PREFIX: Final = "REMORA_"
_OTHER: Final = frozenset({"REMORA_CONFIG"})
_SECRETS: Final = frozenset({"password", "secret", "cluster_keys"})

Table = dict[str, Any]


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Table:
    """Put one table over another, tables within tables likewise."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
        )
    return merged


def find_file(flag: str | None, environ: Mapping[str, str], default: Path = DEFAULT_FILE) -> Path | None:
    """Give the configuration file to read, None where there is none."""
    named = flag or environ.get("REMORA_CONFIG")
    if named:
        return Path(named)
    return default if default.is_file() else None


def read_file(path: Path) -> Table:
    """Read and fit a TOML file; ConfigError names the file, the place and the mend."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ConfigError(f"configuration file {path}", "there is no such file", "Check --config") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"configuration file {path}", f"can't be read: {reason}", "Check the file"
        ) from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"configuration file {path}", f"not valid TOML: {error}", "Mend that line"
        ) from error
    return fit(raw, f"configuration file {path}")


def read_environment(environ: Mapping[str, str]) -> Table:
    """Take what the environment sets.

    A variable that names no setting is refused if it must be meant for us (``__`` in it, or nearly a
    setting's name) and left alone otherwise: Kubernetes puts ``REMORA_SERVICE_HOST`` and its like there
    for a service of our name.
    """
    known = fields(NodeSettings)
    table: Table = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in _OTHER:
            continue
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        source = f"environment variable {variable}"
        if path[0] not in known:
            near = get_close_matches(path[0], known, n=1, cutoff=0.85)
            if len(path) > 1 or near:
                mend = f"Did you mean {PREFIX}{near[0].upper()}?" if near else "Check its name"
                raise ConfigError(source, f"there is no setting {dotted(path)}", mend)
            continue
        table = merge(table, fit_text(environ[variable], path, source))
    return table


def default_state(environ: Mapping[str, str], system: Path = DEFAULT_STATE) -> str:
    """Give ``/var/lib/remora`` where this user may use it, else a place of the user's own."""
    nearest = next(path for path in (system, *system.parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return str(system)
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".local/state")
    return str(Path(home) / "remora")


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    file: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> NodeSettings:
    """Read all sources and check them. ``flags`` is a table of the settings that flags gave."""
    environ = os.environ if environ is None else environ
    path = find_file(file, environ)
    table = read_file(path) if path else {}
    table = merge(table, read_environment(environ))
    table = merge(table, fit(flags or {}, "command line"))
    table.setdefault("state", default_state(environ))
    table["upstreams"] = {
        name: _with_well_known(name, entry) for name, entry in table.get("upstreams", {}).items()
    }
    try:
        settings = msgspec.convert(table, NodeSettings)
    except msgspec.ValidationError as error:
        raise ConfigError("configuration", str(error), "Check it with: remora node --print-config") from error
    validate(settings)
    return settings


def _with_well_known(name: str, entry: Table) -> Table:
    # Credentials for docker.io shouldn't need its URL repeated. Another URL under a well-known name is
    # another registry, which must not inherit the key of the real one's credentials.
    if "url" in entry:
        return entry
    if name not in WELL_KNOWN:
        raise ConfigError(
            "configuration", f"{dotted(('upstreams', name))} has no url", 'Add url = "https://…"'
        )
    return merge(msgspec.to_builtins(WELL_KNOWN[name]), entry)


def effective(settings: NodeSettings) -> Table:
    """Give all settings as a table, well-known upstreams included, secrets masked."""
    table: Table = msgspec.to_builtins(settings)
    table["upstreams"] = merge(msgspec.to_builtins(WELL_KNOWN), table["upstreams"])
    _mask(table)
    return table


def _mask(table: Table) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _mask(value)
        elif key in _SECRETS and value:
            table[key] = "********" if isinstance(value, str) else ["********" for _ in value]
        elif key == "url" and isinstance(value, str) and "@" in value:
            table[key] = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:********@", value)
