from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.core.wire.common import Provider
from p2p.core.wire.peer import FindReference, FoundReference
from p2p.discovery.static import StaticPeers
from p2p.metadata.api import TagRow
from p2p.metadata.hosting import HOSTED
from p2p.metadata.memory import MemoryMetadata
from p2p.node.references import MORE, PeerReferences

if TYPE_CHECKING:
    from p2p.transfer.links import Links

DIGEST = Digest.of(b"manifest")


async def is_secret(repository: Repository) -> bool:
    return repository.path == "library/secret"


class Asked:
    """Links whose other side answers this."""

    def __init__(self, answer: FoundReference | None) -> None:
        self._answer = answer
        self.asked: tuple[Provider, ...] = ()

    async def find_reference(
        self, providers: tuple[Provider, ...], repository: str, reference: str
    ) -> FoundReference | None:
        self.asked = providers
        return self._answer


def references(metadata: MemoryMetadata, answer: FoundReference | None = None) -> PeerReferences:
    return PeerReferences(metadata, StaticPeers((), own="n"), lambda: cast("Links", Asked(answer)), is_secret)


async def test_what_was_seen_is_told_and_what_is_hosted_or_private_is_not() -> None:
    metadata = MemoryMetadata()
    seen = datetime.now(UTC) - timedelta(seconds=60)
    for registry, path in (("docker.io", "app"), (HOSTED, "app"), ("docker.io", "secret")):
        await metadata.put_tag(
            Repository(registry, f"library/{path}"), "1", TagRow(DIGEST, "application/x", 8, seen)
        )
    told = await references(metadata).answer(FindReference(7, "docker.io/library/app", "1"))
    assert (told.request, told.digest, told.size) == (7, str(DIGEST), 8)
    assert 60 <= told.age < 70
    secret = "docker.io/library/secret"
    for name in (f"{HOSTED}/library/app", secret, "docker.io/library/other", "not a name", ""):
        assert (await references(metadata).answer(FindReference(8, name, "1"))).digest == ""


async def test_peers_are_asked() -> None:
    found = FoundReference(1, str(DIGEST), "application/x", 8, 1.5)
    known = await references(MemoryMetadata(), found).ask("docker.io/library/app", "1")
    assert known is not None
    assert (known.digest, known.age) == (DIGEST, 1.5)
    assert await references(MemoryMetadata()).ask("docker.io/library/app", "1") is None


async def test_beside_the_configured_peers_some_of_the_known_are_asked() -> None:
    links, static = Asked(None), StaticPeers(("10.0.0.1:5001",), own="n")
    for number in range(20):
        static.add_known(Provider(f"met {number}", "m", "10.0.1.1", 6000 + number))
    peers = PeerReferences(MemoryMetadata(), static, lambda: cast("Links", links), is_secret)
    await peers.ask("docker.io/library/app", "1")
    assert links.asked[0].host == "10.0.0.1"
    assert len(links.asked) == 1 + MORE
    before = set(links.asked)
    await peers.ask("docker.io/library/app", "2")
    assert set(links.asked) != before, "others for another tag"
