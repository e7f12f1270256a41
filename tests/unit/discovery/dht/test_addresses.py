from __future__ import annotations

import pytest

from p2p.core.dht.contact import Endpoint
from p2p.core.dht.messages import Held
from p2p.core.wire.common import Provider
from p2p.discovery.dht.addresses import provider_of, to_endpoint, to_host
from tests.support.dht_rig import record_of

SEEN = b"\x0a\0\0\7"


@pytest.mark.parametrize("host", ["127.0.0.1", "255.1.2.3", "::1", "fd00::12"])
def test_round_trip(host: str) -> None:
    assert to_host(to_endpoint(host, 1).ip) == host


def test_mapped_and_scoped() -> None:
    assert to_endpoint("::ffff:10.0.0.7", 5) == Endpoint(SEEN, 5)
    assert len(to_endpoint("fe80::1%eth0", 5).ip) == 16
    for name in ("host", "10.0.0", "", "fd00::zz"):
        with pytest.raises(ValueError):
            to_endpoint(name, 5)


def provider(host: str, seen: bytes = SEEN, *, loopback: bool = False) -> Provider | None:
    return provider_of(Held(record_of(1, b"k" * 20, host=host), seen), loopback=loopback)


def test_where_a_provider_is() -> None:
    assert provider("") == Provider("static:10.0.0.7:5001", "10.0.0.7:5001", "10.0.0.7", 5001, complete=True)
    named = provider("node-7.example")
    assert named is not None
    assert named.host == "node-7.example"
    six = provider("fd00::1")
    assert six is not None
    assert (six.name, six.host) == ("[fd00::1]:5001", "fd00::1")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "224.0.0.1", "169.254.169.254", "fe80::1", "a b", "h/x", "h@x", "é", "[::1]"]
)
def test_where_nobody_is_dialled(host: str) -> None:
    assert provider(host, loopback=True) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_is_only_for_those_who_live_there(host: str) -> None:
    assert provider(host) is None
    assert provider(host, loopback=True) is not None
    assert provider("", b"\x7f\0\0\1") is None


def test_no_address_at_all() -> None:
    assert provider("", b"") is None
