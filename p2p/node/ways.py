"""The ways of discovery of one node, made from its settings and joined: peers, trackers, the DHT."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2p.discovery.composite import Routes
from p2p.discovery.static import StaticPeers
from p2p.discovery.trackers import Trackers
from p2p.errors import ConfigError, LocalError, PortInUseError
from p2p.net.listeners import format_address, split_address
from p2p.node.exposure import is_loopback
from p2p.node.references import PeerReferences

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Sequence
    from contextlib import AsyncExitStack
    from random import Random

    from p2p.config import NodeSettings
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.core.wire.tracker import Intent, IntentCancel
    from p2p.discovery.dht.service import DhtDiscovery
    from p2p.discovery.dht.statistics import DhtStatistics
    from p2p.discovery.dht.udp import UdpSockets
    from p2p.discovery.tracker_client import Identity
    from p2p.metadata.api import TagRecords
    from p2p.transfer.links import Links

KEY_FILE: Final = "dht-key"
CONTACTS_FILE: Final = "dht-contacts.json"
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Ways:
    """All of them; ``routes`` is their common face. ``tracker`` and ``dht`` are None where there is none."""

    static: StaticPeers
    tracker: Trackers | None
    dht: DhtDiscovery | None
    routes: Routes
    references: PeerReferences

    @classmethod
    def make(
        cls,
        settings: NodeSettings,
        identity: Identity,
        *,
        dht: DhtDiscovery | None,
        rng: Random,
        on_intent: Callable[[Intent | IntentCancel], None],
        references: tuple[TagRecords, Callable[[], Links], Callable[[Repository], Awaitable[bool]]],
        confined: Container[Digest],
    ) -> Ways:
        """Join them; ``routes.run`` runs all. ``references``: what ``PeerReferences`` takes but the peers."""
        static = StaticPeers(settings.peer.static, own=identity.node)
        metadata, links, private = references
        asked = PeerReferences(metadata, static, links, private)
        tracker = None
        if settings.tracker:
            tracker = Trackers(settings.tracker, identity, rng=rng, on_intent=on_intent)
        routes = Routes(
            identity.node,
            static=static,
            tracker=tracker,
            rng=rng,
            ask_peers=asked.ask,
            dht=dht,
            confined=confined,
            zone=identity.zone,
        )
        return cls(static, tracker, dht, routes, asked)

    def states(self) -> dict[str, bool]:
        """Give each by its name, and whether it is connected."""
        ways = {"static": self.static.available}
        if self.tracker is not None:
            ways |= self.tracker.ways()
        if self.dht is not None:
            ways["dht"] = self.dht.available
        return ways

    def dht_statistics(self) -> DhtStatistics | None:
        """Give the DHT's figures, if it runs."""
        return self.dht.statistics() if self.dht is not None else None


async def open_dht(
    settings: NodeSettings, identity: Identity, peers: Sequence[str], *, rng: Random, stack: AsyncExitStack
) -> DhtDiscovery | None:
    """Bind the DHT's sockets, which ``stack`` closes; None where the settings give it no key.

    ``peers`` are the addresses that the peer port took: the DHT is there too, unless it is told otherwise.
    Raises ConfigError or LocalError.
    """
    # Imported here: seals and signatures cost ten megabytes that a node without the DHT need not have.
    from p2p.discovery.dht.keyring import OPEN_KEY, read_keys

    ring = read_keys(settings.dht)
    if not ring:
        return None
    from p2p.discovery.dht.crypto import SigningKey
    from p2p.discovery.dht.service import DhtDiscovery, DhtIdentity

    listen = settings.dht.listen or settings.peer.listen
    if OPEN_KEY in ring and not is_loopback(listen) and not settings.peer.insecure:
        raise ConfigError(
            f"DHT address {listen}",
            "is reachable from other hosts, and dht.open lets in whoever comes",
            "Make a key with `remora cluster key` and set dht.cluster_keys on all nodes",
        )
    key = SigningKey(read_secret(Path(settings.state) / KEY_FILE))
    sockets = await _open_sockets(settings, peers)
    stack.callback(sockets.close)
    return DhtDiscovery(
        DhtIdentity(identity.node, key, identity.host, identity.port),
        sockets,
        ring=ring,
        bootstrap=(*settings.dht.bootstrap, *settings.peer.static),
        file=Path(settings.state) / CONTACTS_FILE,
        rng=rng,
        loopback=is_loopback(settings.peer.listen),
        most_contacts=settings.dht.contacts,
    )


async def _open_sockets(settings: NodeSettings, peers: Sequence[str]) -> UdpSockets:
    from p2p.discovery.dht.addresses import to_host
    from p2p.discovery.dht.bootstrap import resolve
    from p2p.discovery.dht.udp import open_sockets

    if settings.dht.listen:
        host, port = split_address(settings.dht.listen)
        found = await resolve(host, port)
        if not found:
            raise ConfigError("dht.listen", f"the host {host} is unknown", "Give an address of this host")
        return open_sockets([format_address(to_host(one.ip), port) for one in found])
    try:
        return open_sockets(peers)
    except PortInUseError:
        if split_address(settings.peer.listen)[1]:
            raise
        # Any port would do, and this one is free for TCP alone: contacts learn it from what is sent.
        return open_sockets([format_address(split_address(address)[0], 0) for address in peers])


def read_secret(path: Path) -> bytes:
    """Give the node's secret key for the DHT, made on the first start. LocalError where it can't be kept."""
    try:
        with suppress(FileNotFoundError):
            return _secret(path.read_text("ascii"))
        secret = secrets.token_bytes(SECRET_BYTES)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secret.hex()}\n")
        fresh.replace(path)
    except ValueError as error:
        raise LocalError(str(path), "is no key", "Remove the file: the node takes a new one") from error
    except OSError as error:
        raise LocalError(str(path), f"can't be used: {error.strerror}", "See who owns it") from error
    return secret


def _secret(text: str) -> bytes:
    known = bytes.fromhex(text)
    if len(known) != SECRET_BYTES:
        raise ValueError(f"{len(known)} bytes")
    return known
