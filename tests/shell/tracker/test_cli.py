from __future__ import annotations

import tomllib

import pytest
from click.testing import CliRunner

from p2p.errors import ConfigError
from tracker.cli import command


def test_print_config(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('log_level = "debug"')
    result = CliRunner().invoke(
        command, ["--config", str(file), "--listen", "127.0.0.1:0", "--insecure", "--print-config"]
    )
    assert result.exit_code == 0
    assert tomllib.loads(result.output) == {
        "listen": "127.0.0.1:0",
        "insecure": True,
        "allowed_hosts": [],
        "lease_scope": "cluster",
        "zone_copies": 2.0,
        "log_level": "debug",
        "log_format": "auto",
    }


def test_flags_that_are_not_given_change_nothing():
    result = CliRunner(env={"REMORA_TRACKER_INSECURE": "1"}).invoke(command, ["--print-config"])
    assert tomllib.loads(result.output)["insecure"] is True


def test_errors_are_ours():
    with pytest.raises(ConfigError, match="loud"):
        CliRunner().invoke(command, ["--log-level", "loud"], catch_exceptions=False)
