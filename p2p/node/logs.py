"""Structured logs to standard error: JSON for machines, aligned text for people.

Call ``configure`` once, before anything logs. Loggers of libraries go the same way, without the chatter
of every HTTP request.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, cast

import structlog

from p2p.errors import ConfigError

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS: Final = ("auto", "console", "json")

_CHATTY: Final = ("httpx", "httpcore", "trio-websocket", "stamina")
"""Libraries that log every request, frame or attempt at a level where we say what matters."""


class _Tolerant:
    """A stream whose reader may be gone: what can't be logged is dropped, the daemon goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # a broken pipe, a full disk, a closed file: nowhere to tell it
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


class _NamedLogger(structlog.WriteLogger):
    """Knows the module that ``structlog.get_logger(__name__)`` was called in."""

    def __init__(self, file: TextIO, name: str) -> None:
        super().__init__(file)
        self.name = name


def configure(level: str = "info", format: str = "auto", *, stream: TextIO | None = None) -> None:  # noqa: A002  # the setting's name
    """Send all logs of ``level`` and above to ``stream`` (standard error).

    ``format`` is ``json``, ``console``, or ``auto``: console on a terminal. Times are UTC, ISO 8601.
    Colour only on a terminal. ConfigError for a level or a format that is none.
    """
    if level.lower() not in LEVELS:
        raise ConfigError("log_level", f"{level!r} is not a level", f"Use one of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ConfigError("log_format", f"{format!r} is not a format", f"Use one of {', '.join(FORMATS)}")
    number = LEVELS[level.lower()]
    target = sys.stderr if stream is None else stream
    terminal = target.isatty()
    console = format == "console" or (format == "auto" and terminal)
    tolerant = cast("TextIO", _Tolerant(target))

    def make_logger(*names: str) -> _NamedLogger:
        return _NamedLogger(tolerant, names[0] if names else "remora")

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render = _console(colors=terminal) if console else _json()
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=make_logger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(tolerant)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _json() -> list[structlog.typing.Processor]:
    # As text: structured tracebacks would hold local variables, and so credentials.
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _console(*, colors: bool) -> list[structlog.typing.Processor]:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [_escape, renderer]


def _escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters: names come from other hosts, and this goes to a terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
