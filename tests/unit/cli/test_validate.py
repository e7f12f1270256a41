from pathlib import Path

import msgspec
import pytest

from p2p.cli.validate import is_loopback, split_address, validate
from p2p.config import NodeSettings
from p2p.errors import ConfigError


def settings(**table: object) -> NodeSettings:
    return msgspec.convert(table, NodeSettings)


def test_the_defaults_are_valid() -> None:
    validate(NodeSettings())


def test_addresses() -> None:
    assert split_address("127.0.0.1:0", "x") == ("127.0.0.1", 0)
    assert split_address("[::1]:5000", "x") == ("::1", 5000)
    for wrong in ("5000", "host", "host:", ":5000", "::1:5000", "h:65536", "h:x", "h:-1", "h:٣"):
        with pytest.raises(ConfigError, match="is not host:port"):
            split_address(wrong, "x")


def test_loopback() -> None:
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("node.example")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"registry": {"listen": "5000"}}, "registry.listen: '5000' is not host:port"),
        ({"peer": {"listen": "0.0.0.0:5001"}}, "peer.insecure = true"),
        ({"peer": {"static": ("a:0",)}}, "has no port"),
        ({"dht": {"bootstrap": ("a:0",)}}, "has no port"),
        ({"dht": {"bootstrap": ("a",)}}, "is not host:port"),
        ({"dht": {"listen": "a"}}, "is not host:port"),
        ({"dht": {"contacts": 7}}, "too few"),
        ({"dht": {"cluster_keys": ("short",)}}, "remora cluster key"),
        ({"tracker": ("ws://t:5010", "http://t:5010")}, "ws://host:5010"),
        ({"tracker": ("ws://t:x",)}, "not a URL"),
        ({"log_level": "loud"}, "Choose one of debug"),
        ({"log_format": "xml"}, "Choose one of auto"),
        ({"host": ("/nowhere",)}, "there is no such directory"),
        ({"store": {"low_water": 0.9, "high_water": 0.5}}, "0 ≤ low_water ≤ high_water ≤ 1"),
        ({"store": {"minimum_free": 1.0}}, "is no share"),
        ({"limits": {"up": 200_000}}, "limits.up: 200000 bytes a second are too few to work with"),
        ({"limits": {"prefetch": 1}}, "Write 64KiB/s or more, or 0 for no limit"),
        ({"transfer": {"grace": -1.0}}, "transfer.grace: -1.0 is out of range"),
        ({"upstreams": {"hub": {"url": "hub"}}}, "is not a registry's URL"),
        ({"upstreams": {"hub": {"url": "http://u:p@hub"}}}, "Use username and password"),
        ({"upstreams": {"a/b": {"url": "http://hub"}}}, "can't name an upstream"),
        ({"upstreams": {"hub": {"url": "http://h", "ca_file": "/nowhere"}}}, "there is no file /nowhere"),
        ({"upstreams": {"hub": {"url": "http://h", "streams": 0}}}, "streams is 0"),
        (
            {"upstreams": {"hub": {"url": "http://h", "aliases": ("ghcr.io",)}}},
            "already a name of upstream ghcr.io",
        ),
        ({"registry": {"default_upstream": "hub"}}, "no upstream is called 'hub'"),
    ],
)
def test_what_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(settings(**table))
    assert words in str(caught.value)
    assert caught.value.mend


def test_a_trusted_network_may_be_listened_on() -> None:
    validate(settings(peer={"listen": "0.0.0.0:5001", "insecure": True, "advertise": "10.0.0.1:5001"}))


def test_a_layout_may_be_hosted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no OCI layout"):
        validate(settings(host=(str(tmp_path),)))
    (tmp_path / "oci-layout").write_text("{}")
    validate(settings(host=(str(tmp_path),)))


def test_a_zones_name():
    validate(NodeSettings(zone="eu-west-1a"))
    with pytest.raises(ConfigError, match="no zone's name"):
        validate(NodeSettings(zone="eu west"))
    validate(NodeSettings(zone="eu-west-1a", rack="r07"))
    with pytest.raises(ConfigError, match="no rack's name"):
        validate(NodeSettings(zone="a", rack="a/b"))
    with pytest.raises(ConfigError, match="a rack is one of a zone"):
        validate(NodeSettings(rack="r07"))
