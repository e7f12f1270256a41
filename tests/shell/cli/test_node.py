import json
import os
import signal
import tomllib
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from p2p.cli.app import main
from p2p.cli.children import open_children
from p2p.cli.node import parse_upstream, to_table
from p2p.errors import ConfigError


def test_flags_become_settings(tmp_path: Path) -> None:
    table = to_table(
        {
            "name": "n",
            "state": None,
            "registry_listen": "127.0.0.1:1",
            "peer": ("a:1", "b:2"),
            "insecure": False,
            "host": ("layout",),
            "upstream": ("hub=http://h",),
        }
    )
    assert table == {
        "name": "n",
        "registry": {"listen": "127.0.0.1:1"},
        "peer": {"static": ("a:1", "b:2")},
        "host": [str(Path("layout").absolute())],
        "upstreams": {"hub": {"url": "http://h"}},
    }


def test_upstreams_on_the_command_line() -> None:
    assert parse_upstream("a=http://b?c=d") == ("a", "http://b?c=d")
    for wrong in ("a", "=b", "a="):
        with pytest.raises(ConfigError, match="NAME=URL"):
            parse_upstream(wrong)


def test_print_config() -> None:
    result = CliRunner(env={"REMORA_CONFIG": os.devnull}).invoke(
        main,
        ["node", "--print-config", "--name", "n", "--peer", "10.0.0.1:5001", "--upstream", "hub=http://h"],
    )
    assert result.exit_code == 0
    printed = tomllib.loads(result.stdout)
    assert printed["name"] == "n"
    assert printed["peer"]["static"] == ["10.0.0.1:5001"]
    assert printed["upstreams"]["hub"]["url"] == "http://h"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--registry-listen", "5000"], "registry.listen: '5000' is not host:port"),
        (["--peer-listen", "0.0.0.0:5001"], "--insecure"),
        (["--upstream", "hub"], "is not NAME=URL"),
        (["--tracker", "tracker:5010"], "Write it as ws://host:5010"),
        (["--config", "/nowhere.toml"], "configuration file /nowhere.toml: there is no such file"),
        (["--log-level", "loud"], "Choose one of debug"),
    ],
)
def test_errors(arguments: list[str], words: str) -> None:
    result = CliRunner(env={"REMORA_CONFIG": os.devnull}).invoke(main, ["node", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
async def test_a_node_tells_when_it_is_ready_and_ends_at_a_signal(tmp_path: Path) -> None:
    arguments = ["node", "--config", os.devnull, "--state", str(tmp_path / "state"), "--name", "n"]
    for listener in ("registry", "peer", "metrics"):
        arguments += [f"--{listener}-listen", "127.0.0.1:0"]
    async with open_children(tmp_path) as children:
        child = await children.start("n", arguments)
        assert child.ready["name"] == "n"
        assert not child.ready["registry"].endswith(":0")
        child.process.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            assert await child.process.wait() == 0
    assert "Traceback" not in child.log.read_text()
    assert json.dumps(child.ready)


def test_limits_from_every_source(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[limits]\nup = "200MB/s"\ndown = 300_000_000\n')
    result = CliRunner(env={"REMORA_LIMITS__ORIGIN": "50MiB/s", "REMORA_LIMITS__DOWN": "1GB"}).invoke(
        main, ["node", "--print-config", "--config", str(file), "--limit-prefetch", "10MB/s"]
    )
    limits = tomllib.loads(result.stdout)["limits"]
    assert limits == {"up": 200_000_000, "down": 10**9, "origin": 50 << 20, "prefetch": 10_000_000}
