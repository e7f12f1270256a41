import msgspec
import pytest

from p2p.config import WELL_KNOWN, NodeSettings, UpstreamSettings


def test_zero_configuration_listens_on_loopback_alone() -> None:
    settings = NodeSettings()
    for address in (settings.registry.listen, settings.peer.listen, settings.metrics.listen):
        assert address.startswith("127.0.0.1:")
    assert not settings.peer.insecure


def test_the_default_upstream_is_known_and_docker_hub_has_its_names() -> None:
    hub = WELL_KNOWN[NodeSettings().registry.default_upstream]
    assert hub.library_prefix
    assert "index.docker.io" in hub.aliases


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"traker": "ws://x:1"}, NodeSettings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, UpstreamSettings)
