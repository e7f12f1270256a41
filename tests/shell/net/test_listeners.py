from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest

from p2p.errors import ConfigError, LocalError, PortInUseError
from p2p.net.listeners import format_address, open_listeners, split_address

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:5000", ("::1", 5000)),
        ("node.example:65535", ("node.example", 65535)),
    ],
)
def test_splitting(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts
    assert format_address(*parts) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "5000",
        ":5000",
        "host",
        "host:",
        "host:x",
        "host:-1",
        "host:65536",
        "::1:5000",
        "a:1:2",
        "h:٣",
        "h:000001",
    ],
)
def test_addresses_that_mean_nothing(address: str) -> None:
    with pytest.raises(ConfigError, match=r"host:port.*Write"):
        split_address(address)


async def test_a_free_port_that_can_be_read() -> None:
    (listener,) = await open_listeners("127.0.0.1:0")
    assert listener.address == f"127.0.0.1:{listener.port}"
    assert listener.port > 0
    assert not listener.socket.getblocking()
    with socket.create_connection(("127.0.0.1", listener.port)):
        pass
    listener.close()
    listener.close()


async def test_ipv6() -> None:
    (listener,) = await open_listeners("[::1]:0")
    assert listener.address == f"[::1]:{listener.port}"
    listener.close()


async def test_a_name_may_have_several_addresses_on_one_port() -> None:
    listeners = await open_listeners("localhost:0")
    assert len({listener.port for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


async def test_a_port_in_use() -> None:
    (listener,) = await open_listeners("127.0.0.1:0")
    with pytest.raises(PortInUseError, match=rf"{listener.address}.*another process.*choose another port"):
        await open_listeners(listener.address)
    listener.close()
    (again,) = await open_listeners(listener.address)
    again.close()


async def test_an_address_of_another_host() -> None:
    with pytest.raises(LocalError, match="not an address of this host"):
        await open_listeners("192.0.2.1:0")


async def test_a_host_that_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        await open_listeners("no-such-host.invalid:0")


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    (listener,) = await open_listeners(f"unix:{path}")
    assert (listener.address, listener.port) == (f"unix:{path}", 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(PortInUseError, match="another process"):
        await open_listeners(f"unix:{path}")
    listener.close()
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
        stale.listen()
    (listener,) = await open_listeners(f"unix:{path}")
    path.unlink()
    (newer,) = await open_listeners(f"unix:{path}")
    listener.close()
    assert path.exists(), "a socket that is no longer ours was removed"
    newer.close()


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    with pytest.raises(LocalError, match="not a socket"):
        await open_listeners(f"unix:{path}")
    assert path.read_text() == "precious"


async def test_a_unix_path_that_is_too_long_or_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shorter path"):
        await open_listeners(f"unix:{tmp_path}/{'x' * 120}")
    with pytest.raises(LocalError, match="No such file"):
        await open_listeners(f"unix:{tmp_path}/none/admin.sock")
