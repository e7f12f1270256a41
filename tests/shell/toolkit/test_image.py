import httpx
import pytest
import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import OCI_MANIFEST
from p2p.errors import LocalError, RemoteError, VerificationError
from p2p.toolkit.image import ImageClient, ImageName, InterruptedPullError, host_platform

MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"a/b","digest":"%s","size":2},"layers":[]}'
    % (
        OCI_MANIFEST.encode(),
        str(Digest.of(b"{}")).encode(),
    )
)
DIGEST = str(Digest.of(MANIFEST))


@pytest.mark.parametrize(
    ("text", "name", "namespace", "identifier"),
    [
        ("nginx", "nginx", "", "latest"),
        ("nginx:1.27", "nginx", "", "1.27"),
        ("origin/app:1", "origin/app", "", "1"),
        (f"app:1@{DIGEST}", "app", "", DIGEST),
        ("ghcr.io/org/app:2", "ghcr.io/org/app", "", "2"),
        ("docker.io/nginx", "docker.io/library/nginx", "", "latest"),
        ("localhost:5010/app:1", "app", "localhost:5010", "1"),
    ],
)
def test_names(text: str, name: str, namespace: str, identifier: str) -> None:
    assert ImageName.parse(text) == ImageName(text, name, namespace, identifier)


@pytest.mark.parametrize("text", ["", "App", "a b", "a:!", "a@sha256:1", "../x", "a//b"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        ImageName.parse(text)
    assert caught.value.exit_code == 2


def test_the_host_is_linux_on_something() -> None:
    assert host_platform().os == "linux"
    assert host_platform().architecture


async def test_a_manifest_is_verified(registry, open_server) -> None:
    async with open_server(registry.handle) as url, httpx.AsyncClient(base_url=url) as http:
        client = ImageClient(http, ImageName.parse("localhost:5010/app:1"))
        registry.content[f"app/manifests/{DIGEST}"] = (OCI_MANIFEST, MANIFEST)
        fetched = await client.manifest(DIGEST)
        assert fetched.data == MANIFEST
        assert fetched.descriptor.size == len(MANIFEST)
        assert registry.asked == [(f"app/manifests/{DIGEST}", "ns=localhost%3A5010", None)]
        registry.content[f"app/manifests/{DIGEST}"] = (OCI_MANIFEST, MANIFEST + b" ")
        with pytest.raises(VerificationError, match="it hashes to"):
            await client.manifest(DIGEST)


async def test_refusals_carry_the_node_s_words(registry, open_server) -> None:
    async with open_server(registry.handle) as url, httpx.AsyncClient(base_url=url) as http:
        client = ImageClient(http, ImageName.parse("app:1"))
        with pytest.raises(RemoteError, match=r"image app:1: not known here\. Check its name") as caught:
            await client.manifest("1")
        assert not isinstance(caught.value, InterruptedPullError)
        registry.status["app/manifests/1"] = 503
        with pytest.raises(InterruptedPullError, match="no more"):
            await client.manifest("1")
    with pytest.raises(LocalError, match="Start one with: remora node"):
        async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as http:
            await ImageClient(http, ImageName.parse("app:1")).manifest("1")


async def test_a_blob_from_an_offset(registry, open_server) -> None:
    digest = Digest.of(b"hello")
    registry.content[f"app/blobs/{digest}"] = ("a/b", b"hello")
    async with open_server(registry.handle) as url, httpx.AsyncClient(base_url=url) as http:
        client = ImageClient(http, ImageName.parse("app:1"))
        async with client.blob(digest, 2) as (offset, body):
            assert (offset, b"".join([part async for part in body])) == (2, b"llo")
        registry.cut[f"app/blobs/{digest}"] = 3
        async with client.blob(digest, 0) as (_, body):
            assert await anext(body) == b"hel"
            with pytest.raises(InterruptedPullError, match="cut the connection"):
                await anext(body)


async def test_a_node_that_wants_credentials_is_shown_them_once_they_were_looked_up(
    registry, open_server
) -> None:
    registry.login = "Basic bWU6aXQ="
    registry.content["app/manifests/1"] = (OCI_MANIFEST, MANIFEST)
    looked = []

    async def login() -> str:
        looked.append(1)
        await trio.lowlevel.checkpoint()
        return registry.login

    async with open_server(registry.handle) as url, httpx.AsyncClient(base_url=url) as http:
        client = ImageClient(http, ImageName.parse("app:1"), login)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.manifest, "1")
        assert (await client.manifest("1")).data == MANIFEST
        assert looked == [1]
        assert registry.given.count(None) == 3

        async def none() -> str:
            return ""

        for how in (None, none):
            with pytest.raises(RemoteError, match="it is private"):
                await ImageClient(http, ImageName.parse("app:1"), how).manifest("1")
        registry.login = "Basic b3RoZXI="
        with pytest.raises(RemoteError, match="it is private"):
            await client.manifest("1")
