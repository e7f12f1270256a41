import socket

from p2p.cli.checks import Verdict
from p2p.cli.dht_checks import check_bootstrap, check_dht
from p2p.config import DhtSettings, NodeSettings, PeerSettings
from p2p.discovery.dht.keyring import new_key

ONE, TWO = new_key(), new_key()
PEER = PeerSettings(listen="127.0.0.1:0")


def checked(dht: DhtSettings, *, running: bool = False) -> list[tuple[Verdict, str]]:
    found = check_dht(NodeSettings(dht=dht, peer=PEER), running=running)
    return [(finding.verdict, finding.state) for finding in found]


def test_off_closed_and_open() -> None:
    assert checked(DhtSettings()) == [(Verdict.GOOD, "not used: there is no cluster key")]
    closed = checked(DhtSettings(cluster_keys=(ONE,), bootstrap=("h:1",)))
    assert closed == [(Verdict.GOOD, "closed, under one key"), (Verdict.GOOD, "127.0.0.1:0 (UDP) is free")]
    two = checked(DhtSettings(cluster_keys=(ONE, TWO)))
    assert (Verdict.GOOD, "closed, under two keys, the first one seals") in two
    assert (Verdict.NOTE, "no node is named to begin with") in two
    assert checked(DhtSettings(open=True))[0][0] is Verdict.NOTE


def test_a_port_that_is_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        dht = DhtSettings(cluster_keys=(ONE,), listen=address, bootstrap=("h:1",))
        assert checked(dht)[-1][0] is Verdict.BAD
        assert checked(dht, running=True)[-1][0] is Verdict.GOOD


async def test_names_to_begin_with() -> None:
    dht = DhtSettings(cluster_keys=(ONE,), bootstrap=("127.0.0.1:5001", "nothing.invalid:5001"))
    found = await check_bootstrap(NodeSettings(dht=dht))
    assert [finding.verdict for finding in found] == [Verdict.GOOD, Verdict.BAD]
    assert await check_bootstrap(NodeSettings(dht=DhtSettings(bootstrap=("nothing.invalid:1",)))) == []
