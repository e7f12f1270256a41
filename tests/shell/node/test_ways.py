"""Discovery as the settings say: which ways there are, and on which sockets and keys the DHT runs."""

from __future__ import annotations

import random
import stat
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from p2p.config import DhtSettings, NodeSettings, PeerSettings
from p2p.discovery.dht.keyring import new_key
from p2p.discovery.dht.udp import open_sockets
from p2p.discovery.tracker_client import Identity
from p2p.errors import ConfigError, LocalError, PortInUseError
from p2p.metadata.memory import MemoryMetadata
from p2p.net.listeners import open_listeners
from p2p.node.ways import KEY_FILE, Ways, open_dht, read_secret

if TYPE_CHECKING:
    from pathlib import Path

    from p2p.discovery.dht.service import DhtDiscovery

ME = Identity("0" * 32, "me", "127.0.0.1", 5001)
KEY = new_key()


def settings(state: Path, dht: DhtSettings, peer: PeerSettings | None = None, **more) -> NodeSettings:
    peer = peer or PeerSettings(listen="127.0.0.1:0")
    return NodeSettings(state=str(state), dht=dht, peer=peer, **more)


async def opened(
    stack: AsyncExitStack, node: NodeSettings, peers: tuple[str, ...] = ("127.0.0.1:0",)
) -> DhtDiscovery | None:
    return await open_dht(node, ME, peers, rng=random.Random(1), stack=stack)


async def no_repository(_: object) -> bool:
    return False


async def test_without_a_key_there_is_no_dht(tmp_path) -> None:
    async with AsyncExitStack() as stack:
        assert await opened(stack, settings(tmp_path, DhtSettings())) is None
        off = DhtSettings(cluster_keys=(KEY,), enabled=False)
        assert await opened(stack, settings(tmp_path, off)) is None
    assert list(tmp_path.iterdir()) == []


async def test_it_is_where_the_peers_are(tmp_path) -> None:
    async with AsyncExitStack() as stack:
        (listener,) = await open_listeners("127.0.0.1:0")
        stack.callback(listener.close)
        dht = await opened(stack, settings(tmp_path, DhtSettings(cluster_keys=(KEY,))), (listener.address,))
        assert dht is not None
        with pytest.raises(PortInUseError):
            open_sockets([listener.address])


async def test_a_taken_port_matters_only_if_it_was_asked_for(tmp_path) -> None:
    dht = DhtSettings(cluster_keys=(KEY,))
    async with AsyncExitStack() as stack:
        taken = open_sockets(["127.0.0.1:0"])
        stack.callback(taken.close)
        assert await opened(stack, settings(tmp_path, dht), (taken.address,)) is not None
        with pytest.raises(PortInUseError):
            await opened(stack, settings(tmp_path, dht, PeerSettings(listen=taken.address)), (taken.address,))


async def test_an_address_of_its_own(tmp_path) -> None:
    async with AsyncExitStack() as stack:
        own = DhtSettings(cluster_keys=(KEY,), listen="[::1]:0")
        assert await opened(stack, settings(tmp_path, own)) is not None
        nowhere = DhtSettings(cluster_keys=(KEY,), listen="nothing.invalid:0")
        with pytest.raises(ConfigError):
            await opened(stack, settings(tmp_path, nowhere))


async def test_an_open_one_stays_on_loopback_unless_told_otherwise(tmp_path) -> None:
    open_ = DhtSettings(open=True)
    async with AsyncExitStack() as stack:
        assert await opened(stack, settings(tmp_path, open_)) is not None
        beyond = settings(tmp_path, DhtSettings(open=True, listen="0.0.0.0:0"))
        with pytest.raises(ConfigError, match="remora cluster key"):
            await opened(stack, beyond)
        trusted = settings(tmp_path, open_, PeerSettings(listen="0.0.0.0:0", insecure=True))
        assert await opened(stack, trusted, ("0.0.0.0:0",)) is not None
        closed = settings(tmp_path, DhtSettings(cluster_keys=(KEY,), listen="0.0.0.0:0"))
        assert await opened(stack, closed) is not None


async def test_all_ways_have_one_face(tmp_path) -> None:
    async with AsyncExitStack() as stack:
        node = settings(tmp_path, DhtSettings(cluster_keys=(KEY,)), tracker=("ws://127.0.0.1:1",))
        for dht in (None, await opened(stack, node)):
            ways = Ways.make(
                node,
                ME,
                dht=dht,
                rng=random.Random(1),
                on_intent=lambda _: None,
                references=(MemoryMetadata(), lambda: pytest.fail("not asked"), no_repository),
                confined=(),
            )
            states = {"static": False, "tracker": False} | ({"dht": False} if dht else {})
            assert ways.states() == states
            figures = ways.dht_statistics()
            assert (figures is None) == (dht is None)


def test_the_secret_is_made_once_and_kept(tmp_path) -> None:
    path = tmp_path / KEY_FILE
    first = read_secret(path)
    assert read_secret(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "dht-key.new").write_text("left by a crash")
    path.unlink()
    assert read_secret(path) != first
    assert [one.name for one in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("text", ["", "zz", "00" * 31])
def test_what_is_no_key_is_not_replaced(tmp_path, text) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(text)
    with pytest.raises(LocalError):
        read_secret(path)
    assert path.read_text() == text


def test_where_nothing_can_be_kept(tmp_path) -> None:
    with pytest.raises(LocalError):
        read_secret(tmp_path / "nowhere" / KEY_FILE)
