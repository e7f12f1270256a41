"""The peer port is not for strangers, unless the operator says so."""

from __future__ import annotations

import pytest
import structlog.testing

from p2p.config import PeerSettings
from p2p.errors import ConfigError
from p2p.node.exposure import advertised, check_peer_address, check_registry_address, is_loopback


@pytest.mark.parametrize("address", ["127.0.0.1:5001", "127.8.9.10:0", "[::1]:5001", "localhost:5001"])
def test_this_host_alone(address: str) -> None:
    assert is_loopback(address)
    check_peer_address(PeerSettings(listen=address))


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:5001", "[::]:5001", "10.0.0.1:5001", "192.168.1.5:5001", "node7:5001", "localhost.evil:1"],
)
def test_beyond_it_only_where_the_network_is_trusted(address: str) -> None:
    assert not is_loopback(address)
    with pytest.raises(ConfigError, match="not authenticated") as caught:
        check_peer_address(PeerSettings(listen=address))
    assert address in caught.value.subject
    assert "--insecure" in caught.value.mend
    check_peer_address(PeerSettings(listen=address, insecure=True))


@pytest.mark.parametrize("address", ["5001", "127.0.0.1", "127.0.0.1:port", ""])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        check_peer_address(PeerSettings(listen=address))


@pytest.mark.parametrize(
    ("said", "bound", "told"),
    [
        ("", "127.0.0.1:5001", ("127.0.0.1", 5001)),
        ("", "[::1]:5001", ("::1", 5001)),
        ("", "node7:5001", ("node7", 5001)),
        ("", "0.0.0.0:5001", ("", 5001)),
        ("", "[::]:5001", ("", 5001)),
        ("10.1.2.3:7000", "0.0.0.0:5001", ("10.1.2.3", 7000)),
        ("10.1.2.3:0", "127.0.0.1:43210", ("10.1.2.3", 43210)),
    ],
)
def test_what_others_are_told_to_dial(said: str, bound: str, told: tuple[str, int]) -> None:
    assert advertised(PeerSettings(advertise=said), bound) == told


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "[::1]:5000", "localhost:0"])
def test_the_registry_on_this_host_needs_no_authentication(address: str) -> None:
    with structlog.testing.capture_logs() as logs:
        check_registry_address(address, authenticated=False, encrypted=False, insecure=False)
    assert logs == []


@pytest.mark.parametrize("address", ["0.0.0.0:5000", "[::]:5000", "10.0.0.1:5000", "node7:5000"])
def test_the_registry_beyond_it_needs_some_unless_told_otherwise(address: str) -> None:
    for encrypted in (False, True):
        with pytest.raises(ConfigError, match=r"not authenticated.*auth\.htpasswd.*registry\.insecure"):
            check_registry_address(address, authenticated=False, encrypted=encrypted, insecure=False)
    check_registry_address(address, authenticated=False, encrypted=False, insecure=True)
    check_registry_address(address, authenticated=True, encrypted=True, insecure=False)


def test_readable_passwords_are_warned_about() -> None:
    with structlog.testing.capture_logs() as logs:
        check_registry_address("10.0.0.1:5000", authenticated=True, encrypted=False, insecure=False)
    assert [entry["log_level"] for entry in logs] == ["warning"]
