"""What a node knows of private content, joined: real metadata, real upstreams over HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from p2p.config import PrivateSettings, StoreSettings, UpstreamSettings
from p2p.core.oci.digest import Digest
from p2p.core.oci.reference import Repository
from p2p.core.wire.common import Holding
from p2p.metadata.memory_hosting import MemoryHosting
from p2p.node.private import PrivateContent
from p2p.origin.factory import Origins, open_origins
from p2p.store.memory import MemoryStore
from tests.support.metadata_suite import blob as linked
from tests.support.store_rig import HASHER, MIB, blob, put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = Repository("hub", "org/secret")
OTHER = Repository("open", "org/open")
CONTENT = blob(MIB + 5)
NAME = str(CONTENT.digest)


def upstreams(**more: Any) -> Origins:
    """One upstream with credentials and one without; neither is there."""
    return open_origins(
        {
            "hub": UpstreamSettings(url="http://127.0.0.1:1", username="node", password="word", **more),
            "open": UpstreamSettings(url="http://127.0.0.1:1"),
        },
        environment={},
    )


class World:
    def __init__(self, records: MemoryHosting, store: MemoryStore, origins: Origins) -> None:
        self.records, self.store = records, store
        self.told: list[Holding] = []
        self.changes: list[Digest] = []
        self.content = PrivateContent(PrivateSettings(), records, origins, store)
        self.content.announce, self.content.changed = self.told.append, self.changes.append


@asynccontextmanager
async def world(records: MemoryHosting | None = None) -> AsyncIterator[World]:
    store = MemoryStore(StoreSettings(minimum_free=0), hasher=HASHER)
    await store.recover()
    async with upstreams() as origins:
        yield World(records or MemoryHosting(), store, origins)
    store.close()


async def test_content_from_before_is_confined_where_there_are_credentials_now() -> None:
    records = MemoryHosting()
    await records.link(SECRET, [linked(b"secret")])
    await records.link(OTHER, [linked(b"open")])
    await records.link(Repository("gone", "org/x"), [linked(b"gone")])
    async with world(records) as one:
        await one.content.load()
        assert Digest.of(b"secret") in one.content.confined
        assert Digest.of(b"open") not in one.content.confined
        assert Digest.of(b"gone") not in one.content.confined
        assert await records.unjudged() == ["open", "gone"]


async def test_what_turns_private_is_withdrawn_and_what_turns_public_announced() -> None:
    async with world() as one:
        await put(one.store, CONTENT)
        await one.records.link(SECRET, [linked(CONTENT.data)])
        turned = one.content.visibility.turned
        assert turned is not None
        await turned(SECRET, True)
        assert one.told == [Holding(NAME, 0, 0, False)]
        await turned(SECRET, False)
        assert one.told[1:] == [Holding(NAME, CONTENT.size, CONTENT.layout.count, True)]
        assert one.changes == [CONTENT.digest] * 2


async def test_what_is_pushed_here_is_this_nodes_to_give() -> None:
    async with world() as one:
        await one.records.confine(SECRET, CONTENT.digest, proven=True)
        await one.content.load()
        holding = Holding(NAME, CONTENT.size, 2, True)
        one.content.told(holding)
        assert CONTENT.digest in one.content.confined
        one.content.taken(holding)
        assert CONTENT.digest not in one.content.confined
        assert one.told[-1] == holding


async def test_explain() -> None:
    async with world() as one:
        assert one.content.explain(CONTENT.digest) == {"private": False}
        await one.records.confine(SECRET, CONTENT.digest, proven=True)
        await one.content.load()
        told = one.content.explain(CONTENT.digest)
        assert told["private"] is True
        assert "origin only" in str(told["because"])
        assert told["private_repositories"] == ["hub/org/secret"]


async def test_what_is_here_and_public_is_not_confined_by_a_private_repository() -> None:
    async with world() as one:
        await put(one.store, CONTENT)
        await one.content.confined.begin(SECRET, CONTENT.digest)
        assert CONTENT.digest not in one.content.confined
        other = Digest.of(b"not here")
        await one.content.confined.begin(SECRET, other)
        assert other in one.content.confined  # nobody has asked who may have it: it counts as private


async def test_the_front_end_gets_the_same_parts() -> None:
    async with world() as one:
        given = one.content.front_end
        assert given.proofs is one.content.confined
        assert given.visibility is one.content.visibility
        assert given.likely()
    async with open_origins({"open": UpstreamSettings(url="http://127.0.0.1:1")}, environment={}) as origins:
        assert not origins.may_hold_credentials()
