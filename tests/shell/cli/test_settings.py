import tomllib
from pathlib import Path

import msgspec
import pytest

from p2p.cli.settings import (
    default_state,
    effective,
    find_file,
    load_settings,
    merge,
    read_environment,
    read_file,
)
from p2p.cli.toml import dumps
from p2p.config import NodeSettings
from p2p.discovery.dht.keyring import new_key
from p2p.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def test_the_later_source_wins(file: Path) -> None:
    file.write_text('name = "file"\ntracker = "ws://file:1"\n[registry]\nlisten = "127.0.0.1:1"\n')
    environ = {"REMORA_NAME": "env", "REMORA_REGISTRY__LISTEN": "127.0.0.1:2", "REMORA_CONFIG": str(file)}
    settings = load_settings({"registry": {"listen": "127.0.0.1:3"}, "state": "/s"}, environ=environ)
    assert settings.name == "env"
    assert settings.tracker == ("ws://file:1",)
    assert settings.registry.listen == "127.0.0.1:3"
    assert settings.peer == NodeSettings().peer


def test_tables_within_tables_are_merged() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_which_file(tmp_path: Path, file: Path) -> None:
    assert find_file("x", {"REMORA_CONFIG": "y"}) == Path("x")
    assert find_file(None, {"REMORA_CONFIG": "y"}) == Path("y")
    assert find_file(None, {}, tmp_path / "none") is None
    file.touch()
    assert find_file(None, {}, file) == file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name = \n", "not valid TOML: Invalid value (at line 1"),
        (b"\xff", "not UTF-8"),
        (b"nam = 'x'", "Did you mean name?"),
    ],
)
def test_a_broken_file_is_named(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_file(file)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_file(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_file(tmp_path)


def test_the_environment_of_kubernetes_is_not_ours() -> None:
    assert read_environment({"REMORA_SERVICE_HOST": "10.0.0.1", "REMORA_PORT": "tcp://x", "HOME": "/"}) == {}


@pytest.mark.parametrize("variable", ["REMORA_TRACKR", "REMORA_REGISTRI__LISTEN", "REMORA_STORE__QUOTTA"])
def test_a_mistyped_variable_is_refused(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"environment variable {variable}"):
        read_environment({variable: "1"})


def test_the_state_directory_is_one_that_this_user_can_have(tmp_path: Path) -> None:
    assert default_state({}, tmp_path / "deep" / "remora") == str(tmp_path / "deep" / "remora")
    (tmp_path / "file").touch()  # nobody can make a directory in it, not even root
    blocked = tmp_path / "file" / "remora"
    assert default_state({"XDG_STATE_HOME": "/x"}, blocked) == "/x/remora"
    assert default_state({"HOME": "/h"}, blocked) == "/h/.local/state/remora"


def test_a_well_known_upstream_needs_no_url(file: Path) -> None:
    file.write_text('[upstreams."docker.io"]\nusername = "me"\npassword = "secret"\n')
    hub = load_settings(file=str(file), environ={}).upstreams["docker.io"]
    assert hub.url == "https://registry-1.docker.io"
    assert hub.credential_key == "https://index.docker.io/v1/"
    file.write_text('[upstreams."docker.io"]\nurl = "https://hub.example"\n')
    assert not load_settings(file=str(file), environ={}).upstreams["docker.io"].credential_key
    file.write_text("[upstreams.hub]\nstreams = 2\n")
    with pytest.raises(ConfigError, match=r"upstreams\.hub has no url"):
        load_settings(file=str(file), environ={})


def test_cluster_keys_are_not_printed() -> None:
    key = new_key()
    text = dumps(effective(load_settings({}, environ={"REMORA_DHT__CLUSTER_KEYS": key})))
    assert key not in text
    assert 'cluster_keys = ["********"]' in text


def test_what_is_printed_is_a_valid_file_without_secrets(file: Path) -> None:
    settings = load_settings(
        {"state": "/s", "upstreams": {"hub": {"url": "http://h", "password": "secret"}}}, environ={}
    )
    text = dumps(effective(settings))
    assert "secret" not in text
    file.write_text(text)
    again = load_settings(file=str(file), environ={})
    assert again.registry == settings.registry
    assert set(tomllib.loads(text)["upstreams"]) >= {"docker.io", "hub"}
    assert msgspec.structs.replace(again, upstreams={}) == msgspec.structs.replace(settings, upstreams={})
