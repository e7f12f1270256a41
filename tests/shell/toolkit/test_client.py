import json
import tarfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2p.core.oci.descriptor import Platform
from p2p.errors import (
    ConfigError,
    LocalError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnreachableError,
    RemoteError,
    VerificationError,
)
from p2p.toolkit.api import BlobBegan, Event
from p2p.toolkit.client import Client, Credentials
from p2p.toolkit.image import ImageName
from tests.support.push_registry import PushRegistry
from tests.support.toolkit_rig import Made
from tests.support.upstream import upstream

AMD64 = Platform("linux", "amd64")


@asynccontextmanager
async def registry_and_client(**options) -> AsyncGenerator[tuple[PushRegistry, str, Client]]:
    """Give a registry, its host and a client."""
    registry = PushRegistry()
    async with upstream(registry) as server:
        registry.realm = server.url()
        options = {"platform": AMD64, "environment": {}, **options}
        host = f"127.0.0.1:{server.port}"
        if "login" in options:
            options["credentials"] = {host: options.pop("login")}
        async with Client(**options) as client:
            yield registry, host, client


def files(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}


async def test_push_and_pull_back(made: Made, tmp_path: Path) -> None:
    heard: list[Event] = []
    async with registry_and_client() as (registry, host, client):
        pushed = await client.push(made.root, f"{host}/lib/app:1", ref_name="multi", progress=heard.append)
        assert str(pushed.digest) == made.multi.digest
        assert pushed.image == f"{host}/lib/app:1"
        assert sum(isinstance(event, BlobBegan) for event in heard) == 5
        pulled = await client.pull(f"{host}/lib/app:1", tmp_path / "out", all_platforms=True)
        assert (pulled.descriptor.digest, pulled.received) == (pushed.digest, pushed.uploaded_bytes)
        source = files(made.root)
        assert all(source[name] == data for name, data in files(tmp_path / "out").items())
        one = await client.pull(f"{host}/lib/app:1", str(tmp_path / "one.tar"), platform="linux/arm64")
        assert str(one.descriptor.digest) == made.multi.manifests[1].digest
        with tarfile.open(tmp_path / "one.tar") as archive:
            assert "index.json" in archive.getnames()
        assert not (tmp_path / ".one.tar.layout").exists()
        assert registry.manifests["lib/app"]["1"][1] == made.multi.top.path.read_bytes()


async def test_a_tar_is_pushed_as_it_is(made: Made, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "made.tar", "w") as archive:
        archive.add(made.root, arcname=".")
    async with registry_and_client() as (_, host, client):
        pushed = await client.push(tmp_path / "made.tar", f"{host}/app:1", ref_name="one")
        assert str(pushed.digest) == made.one.digest


async def test_copy_between_registries_with_referrers(made: Made) -> None:
    async with registry_and_client() as (_, source, client), registry_and_client() as (there, goal, _):
        await client.push(made.root, f"{source}/app:1", ref_name="multi")
        await client.push(made.root, f"{source}/app@{made.signature.digest}", ref_name="signature")
        copied = await client.copy(f"{source}/app:1", f"{goal}/lib/app:2", all_platforms=True, referrers=True)
        assert (copied.manifests, copied.referrers, copied.uploaded) == (4, 1, 7)
        assert there.manifests["lib/app"]["2"][1] == made.multi.top.path.read_bytes()
        listed = await client.inspect(f"{goal}/lib/app:2")
        assert [str(referrer.digest) for referrer in listed.referrers] == [made.signature.digest]
        one = await client.copy(f"{source}/app:1", f"{goal}/lib/app:one")
        assert str(one.digest) == made.one.digest
        assert (one.uploaded, one.skipped) == (0, 3)


async def test_copy_to_a_registry_without_the_referrers_api(made: Made) -> None:
    async with registry_and_client() as (_, source, client), registry_and_client() as (there, goal, _):
        there.referrers = False
        await client.push(made.root, f"{source}/app:1", ref_name="multi")
        await client.push(made.root, f"{source}/app:signature", ref_name="signature")
        for _ in range(2):
            await client.copy(f"{source}/app:1", f"{goal}/app:1", all_platforms=True, referrers=True)
        _, data = there.manifests["app"][made.multi.digest.replace(":", "-")]
        assert [entry["digest"] for entry in json.loads(data)["manifests"]] == [made.signature.digest]
        listed = await client.inspect(f"{goal}/app:1")
        assert [str(referrer.digest) for referrer in listed.referrers] == [made.signature.digest]


async def test_copy_within_a_registry_mounts(made: Made) -> None:
    async with registry_and_client() as (registry, host, client):
        await client.push(made.root, f"{host}/a:1", ref_name="multi")
        copied = await client.copy(f"{host}/a:1", f"{host}/b:1", all_platforms=True)
        assert (copied.mounted, copied.uploaded) == (5, 0)
        again = await client.copy(f"{host}/a:1", f"{host}/a:2", all_platforms=True)
        assert again.skipped == 5
        assert registry.uploads == {}


async def test_wrong_bytes_at_the_source_never_arrive(made: Made) -> None:
    async with registry_and_client() as (here, source, client), registry_and_client() as (there, goal, _):
        await client.push(made.root, f"{source}/app:1", ref_name="one")
        layer = made.one.blobs[1]
        here.blobs["app"][layer.digest] = bytes(layer.size)
        with pytest.raises(VerificationError, match="do not match"):
            await client.copy(f"{source}/app:1", f"{goal}/app:1")
        assert layer.digest not in there.blobs.get("app", {})
        assert "1" not in there.manifests.get("app", {})


async def test_credentials_are_those_of_the_host(made: Made) -> None:
    async with registry_and_client(login=Credentials("me", "secret")) as (registry, host, client):
        registry.token = "t"
        await client.push(made.root, f"{host}/app:1", ref_name="one")
        assert registry.scopes == ["repository:app:pull,push"]
        assert "secret" not in repr(Credentials("me", "secret"))


async def test_a_registry_that_refuses(made: Made) -> None:
    async with registry_and_client() as (registry, host, client):
        registry.token = "t"
        registry.realm = "http://elsewhere.example"
        with pytest.raises(OriginDeniedError, match="no credentials are sent there"):
            await client.push(made.root, f"{host}/app:1", ref_name="one")


async def test_errors_are_single_and_ours(made: Made, tmp_path: Path) -> None:
    async with registry_and_client() as (_, host, client):
        with pytest.raises(OriginNotFoundError):
            await client.inspect(f"{host}/app:1")
        with pytest.raises(OriginNotFoundError):
            await client.pull(f"{host}/app:1", tmp_path / "out")
        with pytest.raises(OriginUnreachableError, match="refuses connections"):
            await client.inspect("127.0.0.1:1/app:1")
        with pytest.raises(LocalError, match="there is nothing"):
            await client.push(tmp_path / "none", f"{host}/app:1")
        (tmp_path / "file").write_text("")
        with pytest.raises(LocalError, match="can't be made"):
            await client.pull(f"{host}/app:1", tmp_path / "file" / "out")
        await client.push(made.root, f"{host}/app:1", ref_name="multi")
        with pytest.raises(RemoteError, match=r"not made for linux/s390x.*linux/amd64"):
            await client.copy(f"{host}/app:1", f"{host}/app:2", platform="linux/s390x")


async def test_a_pull_through_a_node_and_a_copy_from_one(
    made: Made, registry, open_server, tmp_path: Path
) -> None:
    for path in (made.root / "blobs/sha256").iterdir():
        data = path.read_bytes()
        kind = json.loads(data).get("mediaType", "a/b") if data.startswith(b'{"') else "a/b"
        for place in ("blobs", "manifests"):
            registry.content[f"origin.test/app/{place}/sha256:{path.name}"] = kind, data
        if f"sha256:{path.name}" == made.multi.digest:
            registry.content["origin.test/app/manifests/1"] = kind, data
    empty = b'{"schemaVersion":2,"manifests":[]}'
    registry.content[f"origin.test/app/referrers/{made.multi.digest}"] = "application/json", empty
    async with open_server(registry.handle) as url, registry_and_client(node=url) as (there, goal, client):
        await client.pull("origin.test/app:1", tmp_path / "out", all_platforms=True)
        copied = await client.copy("origin.test/app:1", f"{goal}/app:1", all_platforms=True)
        assert str(copied.digest) == made.multi.digest
        assert there.manifests["app"]["1"][1] == made.multi.top.path.read_bytes()
        assert (await client.inspect("origin.test/app:1")).platforms == ("linux/amd64", "linux/arm64")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1:5000", "localhost:1", "169.254.169.254", "[::1]:1"])
async def test_no_private_address_that_a_stranger_chose(host: str) -> None:
    async with Client(private_addresses=False, environment={}) as client:
        with pytest.raises(RemoteError, match="its address is private"):
            await client.inspect(f"{host}/app:1")


def test_arguments_are_checked_at_once() -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        Client(node="localhost:5000")
    with pytest.raises(Exception, match="malformed"):
        Client(platform="linux")


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("registry.example", "https://registry.example"),
        ("registry.example:8443", "https://registry.example:8443"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("127.evil.example", "https://127.evil.example"),
        ("plain.example:80", "http://plain.example:80"),
        ("docker.io", "https://registry-1.docker.io"),
    ],
)
async def test_where_registries_are(registry: str, url: str) -> None:
    async with Client(plain_http=["plain.example:80"], environment={}) as client:
        assert client.origin(registry).settings.url == url


async def test_cancelled_at_any_time_nothing_is_left_running(made: Made, tmp_path: Path) -> None:
    for number in range(1, 12):
        async with registry_and_client() as (registry, host, client):
            seen = 0
            with trio.CancelScope() as scope:

                def stop(request, *, after: int = number, scope: trio.CancelScope = scope) -> None:
                    nonlocal seen
                    seen += 1
                    if seen == after:
                        scope.cancel()

                registry.faults.append(stop)
                await client.push(made.root, f"{host}/app:1", ref_name="one")
            assert scope.cancelled_caught or "1" in registry.manifests["app"]
            registry.faults.clear()
            await client.push(made.root, f"{host}/app:1", ref_name="one")
            assert registry.manifests["app"]["1"][1] == made.one.top.path.read_bytes()


@pytest.mark.parametrize(
    ("node", "given", "shown"),
    [
        ("http://127.0.0.1:5000", {}, True),
        ("http://localhost:5000", {}, True),
        ("http://[::1]:5000", {}, True),
        ("https://node.example:5000", {}, True),
        # What is stored on this host is not read out over a network for a mere name.
        ("http://node.example:5000", {}, False),
        ("http://10.0.0.5:5000", {}, False),
        ("http://node.example:5000", {"ghcr.io": Credentials("me", "it")}, True),
    ],
)
async def test_whom_stored_credentials_are_shown_to(
    node: str, given: dict[str, Credentials], shown: bool, tmp_path: Path
) -> None:
    auth = {"auths": {"ghcr.io": {"auth": "bWU6aXQ="}}}
    (tmp_path / "config.json").write_text(json.dumps(auth))
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    async with Client(node=node, credentials=given, environment=environment) as client:
        login = await client._login(ImageName.parse("ghcr.io/org/app:1"))
        assert login == ("Basic bWU6aXQ=" if shown else "")
        assert await client._login(ImageName.parse("quay.io/org/app:1")) == ""
