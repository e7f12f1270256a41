from __future__ import annotations

import pytest

from p2p.errors import ConfigError
from tracker.settings import TrackerSettings, dump, load


def test_defaults():
    assert load(None, {}, {"listen": None}) == TrackerSettings()


def test_the_later_source_wins(tmp_path):
    file = tmp_path / "tracker.toml"
    file.write_text('listen = "127.0.0.1:1"\nlog_level = "debug"\nallowed_hosts = ["a"]\n')
    environ = {
        "REMORA_TRACKER_LISTEN": "127.0.0.1:2",
        "REMORA_TRACKER_INSECURE": "yes",
        "REMORA_TRACKER": "ws://x",
    }
    settings = load(str(file), environ, {})
    assert settings == TrackerSettings(
        listen="127.0.0.1:2", insecure=True, log_level="debug", allowed_hosts=("a",)
    )
    environ |= {"REMORA_TRACKER_CONFIG": str(file), "REMORA_TRACKER_ALLOWED_HOSTS": "x, y"}
    settings = load(None, environ, {"listen": "127.0.0.1:3", "insecure": None})
    assert (settings.listen, settings.log_level, settings.allowed_hosts) == (
        "127.0.0.1:3",
        "debug",
        ("x", "y"),
    )


def test_what_is_printed_can_be_read(tmp_path):
    settings = TrackerSettings(listen='we"ird\\', insecure=True, allowed_hosts=("ä", "b"))
    file = tmp_path / "t.toml"
    file.write_text(dump(settings))
    assert load(str(file), {}, {}) == settings


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("listen = 5", "listen"),
        ("lisen = 'x'", "lisen"),
        ("listen = ", "not TOML"),
        ("log_level = 'loud'", "loud"),
        ("log_format = 'xml'", "xml"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, word):
    file = tmp_path / "t.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=word):
        load(str(file), {}, {})


def test_files_that_are_none(tmp_path):
    (tmp_path / "latin").write_bytes(b"listen = '\xe4'")
    for name in ("missing", "latin", ""):
        with pytest.raises(ConfigError, match="configuration file"):
            load(str(tmp_path / name), {}, {})


@pytest.mark.parametrize(("name", "value"), [("INSECURE", "maybe"), ("LISTENN", "x"), ("ZONE_COPIES", "two")])
def test_a_broken_variable_is_named(name, value):
    with pytest.raises(ConfigError, match=f"REMORA_TRACKER_{name}"):
        load(None, {f"REMORA_TRACKER_{name}": value}, {})


def test_a_false_variable():
    assert load(None, {"REMORA_TRACKER_INSECURE": "off"}, {}) == TrackerSettings()


def test_copies_for_a_zone():
    assert load(None, {"REMORA_TRACKER_ZONE_COPIES": "1.5"}, {}).zone_copies == 1.5
    assert load(None, {}, {"zone_copies": 0.0}).zone_copies == 0
    for copies in (0.5, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="zone_copies"):
            load(None, {}, {"zone_copies": copies})
