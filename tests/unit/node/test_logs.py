"""Logs: one line each, readable by what reads them, never the cause of a failure."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

from p2p.errors import ConfigError
from p2p.node.logs import configure


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_where_it_is_no_terminal() -> None:
    stream = io.StringIO()
    before = datetime.now(UTC)
    configure("info", "auto", stream=stream)
    structlog.get_logger("p2p.some.module").warning("peer banned", node="ab", offence="list\n")
    (line,) = lines(stream)
    assert before <= datetime.fromisoformat(str(line.pop("timestamp"))) <= datetime.now(UTC)
    assert line == {
        "event": "peer banned",
        "level": "warning",
        "logger": "p2p.some.module",
        "node": "ab",
        "offence": "list\n",
    }


def test_console_on_a_terminal() -> None:
    stream = Terminal()
    configure("info", "auto", stream=stream)
    structlog.get_logger().info("ready", port=5000)
    assert "ready" in stream.getvalue()
    assert "5000" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_console_without_colour_elsewhere() -> None:
    stream = io.StringIO()
    configure("info", "console", stream=stream)
    structlog.get_logger().info("ready", name="\x1b[31mred", other="é")
    assert "\x1b" not in stream.getvalue()
    assert r"\x1b[31mred" in stream.getvalue()
    assert "é" in stream.getvalue()


@pytest.mark.parametrize("format_", ["json", "console"])
def test_level_holds_for_ours_and_for_libraries(format_: str) -> None:
    stream = io.StringIO()
    configure("warning", format_, stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet")
    logging.getLogger("httpx").info("quiet")
    assert stream.getvalue() == ""
    structlog.get_logger().error("loud")
    logging.getLogger("some.library").error("loud %s", "too")
    assert stream.getvalue().count("loud") == 2
    assert "some.library" in stream.getvalue()


def test_the_chatter_of_http_clients_is_left_out() -> None:
    stream = io.StringIO()
    configure("debug", "json", stream=stream)
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("httpx").warning("odd")
    assert [line["event"] for line in lines(stream)] == ["odd"]


@pytest.mark.parametrize("format_", ["json", "console"])
def test_tracebacks_hold_no_local_variables(format_: str) -> None:
    stream = io.StringIO()
    configure("info", format_, stream=stream)
    secret = "hunter" + "2"
    try:
        int("x" * len(secret))
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("lib").exception("failed too")
    assert stream.getvalue().count("ValueError: invalid literal") == 2
    assert "hunter2" not in stream.getvalue()


def test_what_json_cannot_hold_becomes_text() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    structlog.get_logger().info("odd", value=object, raw=b"\xff", lone="\ud800")
    (line,) = lines(stream)
    assert line["raw"] == r"b'\xff'"


def test_bound_context_is_logged() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    with structlog.contextvars.bound_contextvars(digest="sha256:ab"):
        structlog.get_logger().info("x")
    assert lines(stream)[0]["digest"] == "sha256:ab"


class Broken(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_reader_that_is_gone_fails_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    for stream, closed in ((Broken(), False), (io.StringIO(), True)):
        configure("info", "json", stream=stream)
        if closed:
            stream.close()
        structlog.get_logger().info("x")
        logging.getLogger("lib").warning("x")
    assert capsys.readouterr().err == ""


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    structlog.get_logger().info("here")
    captured = capsys.readouterr()
    assert "here" in captured.err
    assert captured.out == ""
    assert sys.stderr is not None


def test_configuring_again_replaces() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", stream=first)
    configure("info", "json", stream=second)
    logging.getLogger("lib").warning("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


@pytest.mark.parametrize(
    ("level", "format_", "names"),
    [("loud", "json", "log_level.*'loud'.*debug"), ("info", "xml", "log_format.*'xml'.*auto")],
)
def test_bad_settings_are_named(level: str, format_: str, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        configure(level, format_, stream=io.StringIO())
