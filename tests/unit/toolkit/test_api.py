from p2p.core.oci.digest import Digest
from p2p.toolkit.api import BlobAdvanced, BlobBegan, Event, Teller

DIGEST = Digest.of(b"x")


def test_a_listener_gets_events() -> None:
    heard: list[Event] = []
    teller = Teller(heard.append)
    teller.begin(DIGEST, 5, 0)
    teller.advance(DIGEST, 5)
    assert heard == [BlobBegan(DIGEST, 5, 0), BlobAdvanced(DIGEST, 5)]


def test_nobody_listens() -> None:
    teller = Teller()
    teller.begin(DIGEST, 5, 0)
    teller.advance(DIGEST, 5)
