"""The admin API: status and explain, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.net.message import Content, Request, Takeover
from p2p.node.admin import Explain, RequestReport, Status, SwarmStatus, admin_handler, explained
from p2p.registry.api import RequestStatistics
from p2p.store.api import StoredBlob, StoreStatistics
from p2p.transfer.api import TransferStatistics
from tests.support.push_rig import Push
from tests.support.upkeep_rig import upkeep_of

D = Digest.of(b"")


class NoBody:
    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    def __aiter__(self) -> NoBody:
        return self

    async def read(self, limit: int) -> bytes:
        return b""


def status() -> Status:
    requests = RequestStatistics(
        requests=Counter({("manifest", 200): 1, ("blob", 206): 2}), sent=9, hits=1, misses=2
    )
    return Status(
        node="ab12",
        name="node-1",
        version="0.1.0",
        addresses={"registry": "127.0.0.1:5000"},
        uptime=1.5,
        discovery={"tracker": False},
        transfer=TransferStatistics(received_peers=5, banned={"evil": "list"}),
        store=StoreStatistics(1, 2, 3, 4, 5, 6, 7, 8, 9, healthy=True),
        requests=RequestReport.of(requests),
        swarms=(SwarmStatus(digest=str(D), size=10, verified=5, peers=2, readers=1),),
    )


async def explain(digest: Digest) -> Mapping[str, object]:
    await trio.lowlevel.checkpoint()
    return {"digest": str(digest), "held": None}


async def ask(path: str, query: str = "", method: str = "GET", explain: Explain = explain) -> Any:
    handle = admin_handler(status, explain, upkeep_of(Push()))
    response = await handle(Request(method, path, query, (), NoBody()))
    assert response.status == 200
    assert dict(response.headers)[b"content-type"] == b"application/json"
    assert isinstance(response.body, Content)
    return json.loads(response.body.data)


async def test_status() -> None:
    found = await ask("/status")
    assert (found["node"], found["name"], found["version"], found["uptime"]) == (
        "ab12",
        "node-1",
        "0.1.0",
        1.5,
    )
    assert found["addresses"] == {"registry": "127.0.0.1:5000"}
    assert found["discovery"] == {"tracker": False}
    assert found["transfer"]["received_peers"] == 5
    assert found["transfer"]["banned"] == {"evil": "list"}
    assert found["store"]["healthy"] is True
    assert found["requests"] == {
        "requests": [["blob", 206, 2], ["manifest", 200, 1]],
        "sent": 9,
        "hits": 1,
        "misses": 2,
        "stale_tags": 0,
        "private_refused": 0,
    }
    assert found["swarms"] == [
        {"digest": str(D), "size": 10, "verified": 5, "peers": 2, "readers": 1, "origin": False}
    ]


async def test_explain() -> None:
    assert await ask("/explain", f"digest={D}") == {"digest": str(D), "held": None}
    assert await ask("/explain", f"digest=sha256%3A{D.hex}", "HEAD") == {"digest": str(D), "held": None}


@pytest.mark.parametrize(
    "query", ["", "digest=", "digest=sha256:x", "digest=..%2f..", "diges=1", "digest=\ud800"]
)
async def test_a_malformed_digest(query: str) -> None:
    with pytest.raises(RegistryError) as caught:
        await ask("/explain", query)
    assert caught.value.status == 400


async def test_other_paths_and_methods() -> None:
    with pytest.raises(RegistryError) as caught:
        await ask("/")
    assert caught.value.status == 404
    assert caught.value.detail == {"paths": ["/status", "/explain", "/gc", "/scrub"]}
    with pytest.raises(RegistryError) as caught:
        await ask("/status", method="POST")
    assert caught.value.status == 405
    for path in ("/gc", "/scrub"):
        with pytest.raises(RegistryError) as caught:
            await ask(path)
        assert caught.value.status == 405, "a GET changes nothing"


async def test_work_is_told_in_lines() -> None:
    push = Push()
    handle = admin_handler(status, explain, upkeep_of(push))
    digest = await push.blob(b"x")
    for path, query in (("/gc", "dry_run=1&now=1"), ("/scrub", f"digest={digest}")):
        response = await handle(Request("POST", path, query, (), NoBody()))
        assert isinstance(response.body, Takeover)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/gc", "dryrun=1", 400),
        ("/scrub", "digests=x", 400),
        ("/scrub", "digest=x", 400),
        ("/scrub", f"digest={D}", 404),
    ],
)
async def test_work_that_is_refused(path: str, query: str, status: int) -> None:
    with pytest.raises(RegistryError) as caught:
        await ask(path, query, "POST")
    assert caught.value.status == status


def test_a_blob_that_is_not_here_is_explained_all_the_same() -> None:
    digest = Digest.of(b"x")
    told = explained(digest, None, None, {"known_peers": 0})
    assert told == {"digest": str(digest), "stored": False, "size": 0, "download": None, "known_peers": 0}
    assert explained(digest, StoredBlob(digest, 1), None, {})["stored"] is True
