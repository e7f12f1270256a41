"""Parts from other distributions, by the examples of docs/extending.md."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2p import extensions
from p2p.config import MetadataSettings, PluginSettings, StoreSettings
from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.discovery.static import StaticPeers
from p2p.errors import ConfigError, StoreFullError
from p2p.metadata.hosting import HOSTED
from p2p.node.plugins import PluginContext, open_authenticators, open_database, open_sources, open_store
from tests.support.example_packages import install_example
from tests.support.happenings import APP

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example("node_parts", tmp_path, monkeypatch)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_an_authenticator(tmp_path: Path) -> None:
    keys = trio.Path(tmp_path) / "keys"
    await keys.write_text(f"ci {hashlib.sha256(b'k3y').hexdigest()}\n\n")
    chosen = [PluginSettings(name="api-keys", options=(f"file={keys}",))]
    async with open_authenticators(chosen, state=tmp_path, node="n") as (one,):
        principal = await one.authenticate(basic("anybody", "k3y"))
        assert principal is not None
        assert principal.name == "ci"
        for wrong in (basic("ci", "other"), "Basic !", "Bearer k3y", ""):
            assert await one.authenticate(wrong) is None
        assert one.challenges("repository:app:pull")[0].startswith("Basic ")


async def test_an_authenticator_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="API keys"):
        async with open_authenticators([PluginSettings(name="api-keys")], state=tmp_path, node="n"):
            pass


async def test_a_provider_source(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    class Names:
        """A resolver that a test writes."""

        hosts: tuple[str, ...] | None = ("10.0.0.1", "10.0.0.2")

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, *rest):  # type: ignore[no-untyped-def,override]
            if Names.hosts is None:
                raise OSError("no such name")
            return [(2, 1, 6, "", (one, port)) for one in Names.hosts]

        async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
            raise OSError

    trio.socket.set_custom_hostname_resolver(Resolver())
    peers = StaticPeers()
    chosen = [PluginSettings(name="dns", options=("host=nodes.invalid", "port=5001"))]
    async with open_sources(chosen, state=tmp_path, node="n") as (source,), trio.open_nursery() as nursery:
        await nursery.start(source.run, peers)
        await trio.testing.wait_all_tasks_blocked()
        assert set(peers.nodes()) == {"static:10.0.0.1:5001", "static:10.0.0.2:5001"}
        for hosts, wanted in [
            (None, {"static:10.0.0.1:5001", "static:10.0.0.2:5001"}),
            (("10.0.0.2", "10.0.0.3"), {"static:10.0.0.2:5001", "static:10.0.0.3:5001"}),
        ]:
            Names.hosts = hosts
            await trio.sleep(31)
            assert set(peers.nodes()) == wanted
        nursery.cancel_scope.cancel()


async def test_a_source_without_a_host(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DNS peers"):
        async with open_sources([PluginSettings(name="dns")], state=tmp_path, node="n"):
            pass


async def test_a_storage_driver(tmp_path: Path) -> None:
    settings = StoreSettings(minimum_free=0.0, driver="memory", options=("bytes=2097152",))
    async with open_store(settings, state=tmp_path, node="n") as store:
        upload = await store.uploads.begin("session")
        await upload.write(b"layer")
        blob = await upload.finish(Digest.of(b"layer"))
        assert blob.size == 5
        assert store.find(Digest.of(b"layer")) is not None
        with pytest.raises(StoreFullError):
            await store.open_partial(Digest.of(b"large"), 1 << 30)


async def test_metadata(tmp_path: Path) -> None:
    async with open_database(MetadataSettings(kind="memory"), state=tmp_path, node="n") as metadata:
        now = datetime.now(UTC)
        blob = Descriptor("text/plain", Digest.of(b"x"), 1)
        assert await metadata.add_blob(APP, blob, lease=now)
        assert await metadata.reaches(APP, blob.digest)
        assert await metadata.repositories(HOSTED, 5) == []


async def test_a_url_is_for_sql(tmp_path: Path) -> None:
    settings = MetadataSettings(kind="memory", url="postgresql://host/db")
    with pytest.raises(ConfigError, match=r"metadata\.url: .*Set one of them"):
        async with open_database(settings, state=tmp_path, node="n"):
            pass


async def test_what_a_node_has_without_plugins(tmp_path: Path) -> None:
    async with (
        open_store(StoreSettings(), state=tmp_path, node="n") as store,
        open_database(MetadataSettings(), state=tmp_path, node="n") as metadata,
    ):
        assert store.blobs() == []
        assert await metadata.repositories(HOSTED, 5) == []
    assert (tmp_path / "metadata.db").exists()


async def test_what_is_no_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("odd", "p2p:__version__", extensions.METADATA)])
    monkeypatch.setattr(extensions, "entry_points", lambda **found: points.select(**found))
    with pytest.raises(ConfigError, match="its entry point is no function"):
        async with open_database(MetadataSettings(kind="odd"), state=tmp_path, node="n"):
            pass


def test_options(tmp_path: Path) -> None:
    context = PluginContext(state=tmp_path, node="n", options=("a=1=2", "b"))
    assert [context.option(key) for key in ("a", "b", "c")] == ["1=2", "", ""]
