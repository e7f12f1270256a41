"""A whole node in this process: it serves, tells, and stops in order; what keeps it from starting says so."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from p2p.config import (
    AuthSettings,
    HostingSettings,
    MetadataSettings,
    MetricsSettings,
    NodeSettings,
    PeerSettings,
    PluginSettings,
    RegistrySettings,
    RuleSettings,
    ServerLimits,
    StoreSettings,
    UpstreamSettings,
)
from p2p.errors import ConfigError, LocalError, PortInUseError, RemoraError, StoreError
from p2p.node.daemon import ReadyInfo, run_node
from tests.support.example_packages import install_example
from tests.support.images import MIB, Image, OciLayout

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def on_free_ports(state: Path, **more: Any) -> NodeSettings:
    settings = NodeSettings(
        name="n0",
        state=str(state),
        log_format="json",
        registry=RegistrySettings(listen="127.0.0.1:0"),
        peer=PeerSettings(listen="127.0.0.1:0"),
        metrics=MetricsSettings(listen="127.0.0.1:0"),
    )
    return msgspec.structs.replace(settings, **more)


@dataclass
class Running:
    """A node that serves. ``stop`` asks it to; ``stopped`` when it has."""

    info: ReadyInfo
    stop: Callable[[], None]
    stopped: trio.Event

    async def get(self, role: str, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://{getattr(self.info, role)}") as client:
            return await client.get(path, headers=headers)

    async def admin(self, path: str) -> Any:
        transport = httpx.AsyncHTTPTransport(uds=self.info.admin)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get(path)
        assert answer.status_code == 200
        return answer.json()

    async def work(self, path: str) -> list[Any]:
        transport = httpx.AsyncHTTPTransport(uds=self.info.admin)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post(path)
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.text.splitlines() if line]


@asynccontextmanager
async def running(settings: NodeSettings) -> AsyncIterator[Running]:
    infos: list[ReadyInfo] = []
    serving, stopped = trio.Event(), trio.Event()

    def ready(info: ReadyInfo) -> None:
        infos.append(info)
        serving.set()

    async def run(scope: trio.CancelScope) -> None:
        with scope:
            await run_node(settings, ready=ready)
        stopped.set()

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, scope)
        with trio.fail_after(10):
            await serving.wait()
        try:
            yield Running(infos[0], scope.cancel, stopped)
        finally:
            scope.cancel()


def is_socket(path: str) -> bool:
    return Path(path).is_socket()


def entries(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """A node has its process to itself and sets it up; other tests want theirs back."""
    root, interval = logging.getLogger(), sys.getswitchinterval()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.setswitchinterval(interval)
    gc.unfreeze()
    structlog.reset_defaults()


def ask(node: Running, path: str) -> bytes:
    """A request as a client without a library writes it."""
    return f"GET {path} HTTP/1.1\r\nHost: {node.info.registry}\r\n\r\n".encode()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    layout = OciLayout(tmp_path / "app")
    layers = [layout.layer("data", 3 * MIB, seed=1), layout.empty_layer()]
    return layout.image(layers, tag="1")


@pytest.mark.slow
async def test_a_hosted_image_is_pulled_and_the_node_tells_of_it(tmp_path: Path, image: Image) -> None:
    settings = on_free_ports(tmp_path / "state", host=(str(tmp_path / "app"),))
    async with running(settings) as node:
        answer = await node.get("registry", "/v2/app/manifests/1", accept=MANIFEST)
        assert answer.status_code == 200
        assert answer.headers["docker-content-digest"] == image.digest
        assert hashlib.sha256(answer.content).hexdigest() == image.digest.removeprefix("sha256:")
        for blob in image.blobs:
            answer = await node.get("registry", f"/v2/app/blobs/{blob.digest}")
            assert answer.content == blob.path.read_bytes()

        ready = await node.get("metrics", "/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        metrics = (await node.get("metrics", "/metrics")).text
        assert 'name="n0"' in metrics or 'node="n0"' in metrics

        status = await node.admin("/status")
        assert status["name"] == "n0"
        assert status["node"] == node.info.node
        assert status["addresses"]["registry"] == node.info.registry
        assert status["store"]["healthy"]
        told = await node.admin(f"/explain?digest={image.blobs[0].digest}")
        assert told["stored"]


@pytest.mark.slow
async def test_a_node_of_parts_from_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example("node_parts", tmp_path, monkeypatch)
    keys = trio.Path(tmp_path) / "keys"
    await keys.write_text(f"ci {hashlib.sha256(b'k3y').hexdigest()}\n")
    settings = on_free_ports(
        tmp_path / "state",
        auth=AuthSettings(
            authenticators=(PluginSettings(name="api-keys", options=(f"file={keys}",)),),
            rules=(RuleSettings(repositories=("**",), subjects=("ci",), actions=("pull", "push")),),
        ),
        peer=PeerSettings(
            listen="127.0.0.1:0",
            sources=(PluginSettings(name="dns", options=("host=127.0.0.1", "port=5999")),),
        ),
        store=StoreSettings(minimum_free=0.0, driver="memory"),
        metadata=MetadataSettings(kind="memory"),
        hosting=HostingSettings(repositories=("team/**",)),
    )
    data = b"layer" * 1000
    blob = f"sha256:{hashlib.sha256(data).hexdigest()}"
    async with running(settings) as node:
        assert (await node.get("registry", "/v2/")).status_code == 401
        base = f"http://{node.info.registry}"
        async with httpx.AsyncClient(base_url=base, auth=("any", "k3y")) as client:
            answer = await client.post(f"/v2/team/app/blobs/uploads/?digest={blob}", content=data)
            assert answer.status_code == 201
            assert (await client.get(f"/v2/team/app/blobs/{blob}")).content == data
        told = await node.admin(f"/explain?digest={blob}")
        assert told["stored"]
        with trio.fail_after(5):
            while not (told := await node.admin(f"/explain?digest={blob}"))["known_peers"]:
                await trio.lowlevel.checkpoint()
    assert {entry.name for entry in entries(tmp_path / "state")}.isdisjoint({"metadata.db", "blobs"})


@pytest.mark.slow
async def test_it_serves_again_after_a_restart_what_it_has(tmp_path: Path, image: Image) -> None:
    settings = on_free_ports(tmp_path / "state", host=(str(tmp_path / "app"),))
    async with running(settings) as node:
        first = node.info.node
    for blob in image.blobs:
        blob.path.unlink(missing_ok=True)
    async with running(on_free_ports(tmp_path / "state")) as node:
        assert node.info.node == first
        told = await node.admin(f"/explain?digest={image.blobs[1].digest}")
        assert told["stored"]


@pytest.mark.slow
async def test_the_ready_line_is_what_a_program_reads(tmp_path: Path) -> None:
    async with running(on_free_ports(tmp_path / "state")) as node:
        line = json.loads(msgspec.json.encode(node.info))
        assert line["event"] == "ready"
        assert is_socket(line["admin"])
        for role in ("registry", "peer", "metrics"):
            assert int(line[role].rpartition(":")[2]) > 0
    assert not is_socket(line["admin"])


@pytest.mark.slow
async def test_a_response_under_way_is_drained_and_no_more_are_accepted(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "big")
    big = layout.image([layout.layer("data", 24 * MIB, seed=2)], tag="1")
    layer = big.blobs[1]
    settings = on_free_ports(tmp_path / "state", host=(str(layout.root),))
    async with running(settings) as node:
        host, _, port = node.info.registry.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            # Taken slowly: most of it is still to be sent when the node is asked to stop.
            await stream.send_all(ask(node, f"/v2/big/blobs/{layer.digest}"))
            received = await stream.receive_some(65536)
            assert received.startswith(b"HTTP/1.1 200")
            node.stop()

            await wait_all_tasks_blocked(0.02)
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream(host, int(port))
            assert not node.stopped.is_set()
            with trio.fail_after(10):
                while part := await stream.receive_some(1 << 20):
                    received += part
        body = received.partition(b"\r\n\r\n")[2]
        assert hashlib.sha256(body).hexdigest() == layer.digest.removeprefix("sha256:")
        with trio.fail_after(5):
            await node.stopped.wait()


@pytest.mark.slow
async def test_a_client_that_takes_nothing_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "big")
    big = layout.image([layout.layer("data", 24 * MIB, seed=2)], tag="1")
    registry = RegistrySettings(listen="127.0.0.1:0", limits=ServerLimits(drain_timeout=0.3))
    settings = on_free_ports(tmp_path / "state", host=(str(layout.root),), registry=registry)
    async with running(settings) as node:
        host, _, port = node.info.registry.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(ask(node, f"/v2/big/blobs/{big.blobs[1].digest}"))
            await stream.receive_some(100)
            node.stop()
            with trio.fail_after(5):
                await node.stopped.wait()


@pytest.mark.slow
async def test_one_node_pulls_from_another_through_its_registry(tmp_path: Path, image: Image) -> None:
    """A node with hosted repositories is an upstream like any other; and peers are found by address."""
    async with running(on_free_ports(tmp_path / "a", host=(str(tmp_path / "app"),))) as origin:
        upstreams = {"origin": UpstreamSettings(url=f"http://{origin.info.registry}")}
        settings = on_free_ports(
            tmp_path / "b",
            upstreams=upstreams,
            registry=RegistrySettings(listen="127.0.0.1:0", default_upstream="origin"),
        )
        async with running(settings) as node:
            answer = await node.get("registry", "/v2/app/manifests/1", accept=MANIFEST)
            assert answer.headers["docker-content-digest"] == image.digest
            layer = image.blobs[1]
            answer = await node.get("registry", f"/v2/app/blobs/{layer.digest}")
            assert answer.content == layer.path.read_bytes()
            status = await node.admin("/status")
            assert status["transfer"]["received_origin"] >= layer.size


@pytest.mark.slow
async def test_what_nothing_refers_to_goes_when_it_is_asked_for(tmp_path: Path) -> None:
    data = b"some layer" * 1000
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    hosting = HostingSettings(repositories=("team/**",))
    async with running(on_free_ports(tmp_path / "state", hosting=hosting)) as node:
        async with httpx.AsyncClient(base_url=f"http://{node.info.registry}") as client:
            pushed = await client.post(f"/v2/team/app/blobs/uploads/?digest={digest}", content=data)
            assert pushed.status_code == 201
            assert (await node.work("/gc?now=1"))[-1]["summary"]["blobs"] == 0, "its lease holds"
            assert (await node.work(f"/scrub?digest={digest}"))[-1]["summary"]["good"] == 1
            assert (await client.delete(f"/v2/team/app/blobs/{digest}")).status_code == 202
            assert (await node.admin(f"/explain?digest={digest}"))["stored"]
            gone = {"digest": digest, "size": len(data)}
            assert (await node.work("/gc?dry_run=1"))[0] == gone
            assert (await node.admin(f"/explain?digest={digest}"))["stored"]
            assert (await node.work("/gc"))[0] == gone
            assert not (await node.admin(f"/explain?digest={digest}"))["stored"]
            assert not [path for path in (tmp_path / "state").rglob("*") if path.name.startswith(digest[7:])]
        metrics = (await node.get("metrics", "/metrics")).text
        assert f"remora_collected_bytes_total {float(len(data))}" in metrics
        assert "remora_scrubbed_blobs_total 1.0" in metrics
        assert 'remora_connections_accepted_total{listener="registry"}' in metrics
        assert 'remora_notifications_queued{sink="extension:' in metrics


# ── what keeps it from starting ────────────────────────────────────────────────────────────────────


async def start_fails(settings: NodeSettings) -> RemoraError:
    """Give the error, which comes as itself and not in a group."""
    with trio.fail_after(10), pytest.raises(RemoraError) as caught:
        await run_node(settings, ready=lambda info: pytest.fail(f"it serves: {info}"))
    return caught.value


@pytest.mark.parametrize("role", ["registry", "peer", "metrics"])
async def test_a_port_in_use(tmp_path: Path, role: str) -> None:
    kinds: dict[str, Any] = {"registry": RegistrySettings, "peer": PeerSettings, "metrics": MetricsSettings}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        error = await start_fails(on_free_ports(tmp_path, **{role: kinds[role](listen=address)}))
    assert isinstance(error, PortInUseError)
    assert address.rpartition(":")[2] in error.subject


async def test_after_a_failed_start_everything_is_free_again(tmp_path: Path) -> None:
    """Its ports, its sockets, the lock of its store."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = MetricsSettings(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        await start_fails(on_free_ports(tmp_path, metrics=metrics))
    async with running(on_free_ports(tmp_path, metrics=metrics)) as node:
        assert node.info.metrics == metrics.listen


async def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = await start_fails(on_free_ports(tmp_path / "file" / "state"))
    assert isinstance(error, LocalError)
    assert str(tmp_path / "file") in str(error)
    assert error.mend


@pytest.mark.slow
async def test_a_second_node_on_the_same_state(tmp_path: Path) -> None:
    async with running(on_free_ports(tmp_path)) as node:
        error = await start_fails(on_free_ports(tmp_path))
        assert isinstance(error, StoreError)
        assert str(tmp_path) in str(error)
        assert (await node.admin("/status"))["name"] == "n0", "the first one is none the worse"


async def test_a_peer_port_for_everybody(tmp_path: Path) -> None:
    error = await start_fails(on_free_ports(tmp_path, peer=PeerSettings(listen="0.0.0.0:0")))
    assert isinstance(error, ConfigError)
    assert not entries(tmp_path), "nothing was begun"


async def test_an_address_that_is_none(tmp_path: Path) -> None:
    assert isinstance(
        await start_fails(on_free_ports(tmp_path, registry=RegistrySettings(listen="5000"))), ConfigError
    )


async def test_a_default_upstream_that_is_unknown(tmp_path: Path) -> None:
    registry = RegistrySettings(listen="127.0.0.1:0", default_upstream="nowhere")
    error = await start_fails(on_free_ports(tmp_path, registry=registry))
    assert isinstance(error, ConfigError)
    assert "nowhere" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["missing", "empty", "damaged"])
async def test_a_layout_that_cannot_be_hosted(tmp_path: Path, wrong: str) -> None:
    layout = tmp_path / "layout"
    if wrong != "missing":
        layout.mkdir()
    if wrong == "damaged":
        made = OciLayout(layout)
        made.image([made.layer("data", 1000, seed=1)], tag="1").blobs[1].path.write_bytes(b"other bytes")
    error = await start_fails(on_free_ports(tmp_path / "state", host=(str(layout),)))
    assert str(layout) in str(error)


async def test_cancelled_before_it_serves_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await run_node(on_free_ports(tmp_path), ready=lambda info: pytest.fail(f"it serves: {info}"))
    async with running(on_free_ports(tmp_path)):
        pass
