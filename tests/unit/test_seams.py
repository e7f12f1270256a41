"""Every implementation of a seam, twins included, has all its members with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import pytest

from p2p.content.api import ContentBody, SharedContent
from p2p.content.body import ThreadBody
from p2p.content.directory import DirectoryContent
from p2p.content.memory import MemoryBody as MemoryContentBody
from p2p.content.memory import MemoryContent
from p2p.content.s3 import S3Content
from p2p.core.dht.sealing import Aead
from p2p.discovery.api import Discovery, Leases, PeerBook, References
from p2p.discovery.composite import DhtWay, Routes
from p2p.discovery.dht.crypto import AesGcm
from p2p.discovery.dht.service import DhtDiscovery
from p2p.discovery.static import StaticPeers
from p2p.discovery.tracker_client import TrackerClient
from p2p.discovery.trackers import Trackers
from p2p.metadata.api import Metadata
from p2p.metadata.database import Database
from p2p.metadata.hosting import Hosting
from p2p.metadata.memory import MemoryMetadata
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.metadata.memory_private import MemoryPrivacy
from p2p.metadata.postgres import Shared
from p2p.metadata.private import PrivateRecords
from p2p.metadata.sql import SqlMetadata
from p2p.metadata.sqlite import Embedded
from p2p.net.body import IncomingBody
from p2p.net.message import RequestBody
from p2p.node import plugins
from p2p.notifications.api import Notifier, Queue, Silence, Sink
from p2p.notifications.memory import MemoryQueue
from p2p.notifications.notifier import QueueNotifier
from p2p.notifications.queue import EventQueue
from p2p.notifications.webhook import Webhook
from p2p.origin.api import Destination, Origin, OriginBody
from p2p.origin.body import Body
from p2p.origin.client import RegistryOrigin
from p2p.origin.factory import Origins
from p2p.origin.memory import MemoryBody, MemoryDestination, MemoryOrigin
from p2p.origin.push import Pusher
from p2p.registry.api import OriginLookup, Upstream
from p2p.registry.auth.api import Authenticator
from p2p.registry.auth.bearer import BearerAuthenticator
from p2p.registry.auth.chain import ChainAuthenticator, NoAuthenticator
from p2p.registry.auth.htpasswd import HtpasswdAuthenticator
from p2p.registry.auth.keys import FileKeys, Keys, UrlKeys
from p2p.registry.catalog import HostedCatalog
from p2p.registry.extension import Catalog, Extension
from p2p.search.extension import Search
from p2p.search.indexer import Indexer
from p2p.store.api import Partial, Store, Upload, Uploads
from p2p.store.disk import DiskStore
from p2p.store.files import Files, OsFiles, Volume
from p2p.store.memory import MemoryFiles, MemoryStore
from p2p.store.partial import GrowingBlob
from p2p.store.upload import GatheredUpload
from p2p.store.uploads import StoredUploads
from p2p.transfer.api import BlobStream, Transfer
from p2p.transfer.engine import Engine
from p2p.transfer.streams import PassingStream, StoredStream, SwarmStream
from tests.support import auth_rig, catalog, cluster, happenings, http_rig, registry_rig

SEAMS: list[tuple[type, list[type]]] = [
    (Store, [DiskStore, MemoryStore]),
    (plugins.Database, [SqlMetadata, MemoryHosting]),
    (SharedContent, [MemoryContent, DirectoryContent, S3Content]),
    (ContentBody, [ThreadBody, MemoryContentBody]),
    (Partial, [GrowingBlob]),
    (Upload, [GatheredUpload]),
    (Uploads, [StoredUploads]),
    (Files, [OsFiles, MemoryFiles]),
    (Volume, [OsFiles, MemoryFiles]),
    (Origin, [RegistryOrigin, MemoryOrigin, cluster.ScriptedOrigin]),
    (OriginBody, [Body, MemoryBody]),
    (Destination, [Pusher, MemoryDestination]),
    (Upstream, [RegistryOrigin, MemoryOrigin]),
    (OriginLookup, [Origins, registry_rig.MemoryOrigins]),
    (Discovery, [DhtDiscovery, TrackerClient, Trackers, StaticPeers, Routes, cluster.BoardClient]),
    (PeerBook, [StaticPeers]),
    (DhtWay, [DhtDiscovery]),
    (Aead, [AesGcm]),
    (Leases, [TrackerClient, Trackers, Routes, cluster.BoardClient]),
    (References, [TrackerClient, Trackers, Routes, registry_rig.MemoryReferences]),
    (Metadata, [SqlMetadata, MemoryMetadata, MemoryHosting]),
    (PrivateRecords, [SqlMetadata, MemoryPrivacy, MemoryHosting]),
    (Hosting, [SqlMetadata, MemoryHosting]),
    (Database, [Embedded, Shared]),
    (Transfer, [Engine, registry_rig.MemoryTransfer]),
    (BlobStream, [StoredStream, SwarmStream, PassingStream, registry_rig.MemoryStream]),
    (
        Authenticator,
        [
            NoAuthenticator,
            HtpasswdAuthenticator,
            BearerAuthenticator,
            ChainAuthenticator,
            auth_rig.MemoryAuthenticator,
        ],
    ),
    (Keys, [FileKeys, UrlKeys, auth_rig.MemoryKeys]),
    (Queue, [EventQueue, MemoryQueue]),
    (Notifier, [QueueNotifier, Silence]),
    (Sink, [Webhook, Indexer, happenings.KeepingSink]),
    (Catalog, [HostedCatalog, catalog.MemoryCatalog]),
    (Extension, [Search]),
    (RequestBody, [IncomingBody, http_rig.NoBody, registry_rig.NoBody]),
]
PAIRS = [(seam, one) for seam, implementations in SEAMS for one in implementations]


def members(seam: type) -> dict[str, Any]:
    """A protocol's methods and properties; attributes are what mypy looks after."""
    found: dict[str, Any] = {}
    for base in reversed(seam.__mro__):
        if base not in (object, Protocol):
            found |= {
                name: value
                for name, value in vars(base).items()
                if (not name.startswith("_") or name == "__aiter__")
                and (inspect.isfunction(value) or isinstance(value, property))
            }
    return found


def parameters(function: Any) -> list[tuple[str, str, bool]]:
    """Name, kind and whether there is a default, of what a caller can give."""
    return [
        (p.name, p.kind.name, p.default is not p.empty)
        for p in inspect.signature(inspect.unwrap(function)).parameters.values()
    ]


def kind(function: Any) -> str:
    """How its result is to be waited for. An iterator may be a generator or be made by a plain function."""
    if isinstance(function, property):
        return "property"
    return "async" if inspect.iscoroutinefunction(function) else "plain"


@pytest.mark.parametrize(("seam", "implementation"), PAIRS, ids=lambda one: one.__name__)
def test_an_implementation_has_the_whole_face(seam: type, implementation: type) -> None:
    for name, wanted in members(seam).items():
        given = inspect.getattr_static(implementation, name, None)
        assert given is not None, f"{implementation.__name__} has no {name}"
        assert kind(given) == kind(wanted), f"{implementation.__name__}.{name} is {kind(given)}"
        if not isinstance(wanted, property):
            assert parameters(given) == parameters(wanted), f"{implementation.__name__}.{name} takes others"


def test_each_seam_has_something_to_compare() -> None:
    assert all(members(seam) for seam, _ in SEAMS)
    assert "tag" in members(Metadata)
