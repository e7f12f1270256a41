from __future__ import annotations

import json
import logging

import pytest
import structlog

from tracker.logs import configure


@pytest.fixture(autouse=True)
def restore():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_one_object_a_line(capsys):
    configure("info", "json")
    log = structlog.get_logger()
    log.debug("hidden")
    log.info("node came", name="a\x1b[2J\nb")
    (line,) = capsys.readouterr().err.splitlines()
    row = json.loads(line)
    assert (row["event"], row["level"]) == ("node came", "info")
    assert "\x1b" not in row["name"]


def test_auto_is_json_where_nobody_looks(capsys):
    configure("info", "auto")
    structlog.get_logger().info("x")
    assert json.loads(capsys.readouterr().err)["event"] == "x"


def test_console(capsys):
    configure("debug", "console")
    structlog.get_logger().debug("hello there")
    assert "hello there" in capsys.readouterr().err
