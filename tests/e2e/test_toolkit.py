"""The toolkit and its commands against real docker-registries; skopeo says what came of it."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import p2p
from p2p import blocking
from p2p.errors import OriginDeniedError
from tests.support.clients import skopeo_copy
from tests.support.nodes import REMORA, Node
from tests.support.processes import run
from tests.support.registry_origin import DockerRegistry
from tests.support.toolkit_rig import Made, make

MIB = 1 << 20
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def made(session_directory: Path) -> Made:
    return make(session_directory / "toolkit-made", size=9 * MIB)


@pytest.fixture
def here(directory: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(directory, name="here") as registry:
        yield registry


@pytest.fixture
def there(directory: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(directory, name="there") as registry:
        yield registry


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(directory / "docker"))


def remora(*arguments: object) -> str:
    return run([*REMORA, *map(str, arguments)], timeout=120).stdout


def digest_by_skopeo(image: str) -> str:
    raw = run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{image}"]).stdout
    return f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"


def check_layout(layout: Path, made: Made) -> None:
    """Every blob of the multi-arch image is there, byte for byte."""
    for content in (made.multi.top, *made.multi.manifests, *made.multi.blobs):
        name = content.digest.partition(":")[2]
        assert (layout / "blobs" / "sha256" / name).read_bytes() == content.path.read_bytes()


def test_a_pushed_layout_is_what_skopeo_finds(here: DockerRegistry, made: Made, directory: Path) -> None:
    image = f"{here.address}/lib/app:1"
    report = json.loads(remora("push", made.root, image, "--ref", "multi", "--json"))
    assert report["digest"] == made.multi.digest == digest_by_skopeo(image)
    assert report["blobs"]["uploaded"] == 5
    inspected = json.loads(run(["skopeo", "inspect", "--tls-verify=false", f"docker://{image}"]).stdout)
    assert inspected["Os"] == "linux"
    check_layout(skopeo_copy(image, directory / "back", everything=True), made)
    here.traffic()
    again = json.loads(remora("push", made.root, image, "--ref", "multi", "--json"))
    assert again["blobs"] == {"uploaded": 0, "mounted": 0, "skipped": 5}
    assert not [request for request in here.traffic().requests if request.method in ("POST", "PATCH")]


def test_copies_of_a_multi_arch_image_there_and_back(
    here: DockerRegistry, there: DockerRegistry, made: Made, directory: Path
) -> None:
    remora("push", made.root, f"{here.address}/app:1", "--ref", "multi")
    remora("push", made.root, f"{here.address}/app:signature", "--ref", "signature")
    out = remora("copy", f"{here.address}/app:1", f"{there.address}/a/b:1", "--all-platforms", "--referrers")
    assert made.multi.digest in out
    assert "1 referrers" in out
    with blocking.Client(platform="linux/amd64") as client:
        back = client.copy(f"{there.address}/a/b:1", f"{here.address}/back:1", all_platforms=True)
        assert str(back.digest) == made.multi.digest
        within = client.copy(f"{here.address}/app:1", f"{here.address}/within:1", all_platforms=True)
        assert (within.mounted, within.uploaded) == (5, 0)
        one = client.copy(f"{here.address}/app:1", f"{there.address}/one:1")
        assert str(one.digest) == made.one.digest
        # This registry has no referrers API: the list is under the tag that the specification gives.
        found = client.inspect(f"{there.address}/a/b:1")
        assert [str(referrer.digest) for referrer in found.referrers] == [made.signature.digest]
        assert found.platforms == ("linux/amd64", "linux/arm64")
        client.pull(f"{here.address}/back:1", directory / "pulled", all_platforms=True)
    check_layout(directory / "pulled", made)
    for image in (f"{there.address}/a/b:1", f"{here.address}/back:1", f"{here.address}/within:1"):
        assert digest_by_skopeo(image) == made.multi.digest
    check_layout(skopeo_copy(f"{there.address}/a/b:1", directory / "skopeo", everything=True), made)


def test_a_copy_through_a_node_costs_the_origin_one_pull(
    here: DockerRegistry, there: DockerRegistry, made: Made, directory: Path
) -> None:
    remora("push", made.root, f"{here.address}/app:1", "--ref", "multi")
    with Node("copying", directory, upstreams={"origin.test": here.address}) as node:
        here.traffic()
        for name in ("first", "second"):
            remora(
                *("copy", "origin.test/app:1", f"{there.address}/{name}:1", "--all-platforms"),
                *("--node", f"http://{node.registry}"),
            )
        contents = {content.digest: content for content in made.multi.blobs}
        assert here.traffic().copies(contents.values()) == 1.0
    assert digest_by_skopeo(f"{there.address}/second:1") == made.multi.digest


@asynccontextmanager
async def cutting_proxy(port: int, after: int) -> AsyncIterator[tuple[str, list[int]]]:
    """Pass connections on, and cut the first that carries ``after`` bytes; gives address and cuts."""
    cuts: list[int] = []

    async def handle(client: trio.SocketStream) -> None:
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", port) as server,
            trio.open_nursery() as nursery,
        ):

            async def back() -> None:
                async for part in server:
                    await client.send_all(part)
                nursery.cancel_scope.cancel()

            nursery.start_soon(back)
            count = 0
            try:
                async for part in client:
                    count += len(part)
                    if count > after and not cuts:
                        cuts.append(count)
                        break
                    await server.send_all(part)
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}", cuts
        nursery.cancel_scope.cancel()


async def test_a_cut_upload_ends_well(here: DockerRegistry, made: Made) -> None:
    async with cutting_proxy(here.port, 5 * MIB) as (address, cuts), p2p.Client() as client:
        pushed = await client.push(made.root, f"{address}/app:1", ref_name="multi")
        assert len(cuts) == 1
        assert pushed.uploaded == 5
    assert await trio.to_thread.run_sync(digest_by_skopeo, f"{here.address}/app:1") == made.multi.digest


def test_a_registry_that_wants_a_password(directory: Path, made: Made) -> None:
    with DockerRegistry(directory, name="closed", users={"me": "secret"}) as registry:
        image = f"{registry.address}/app:1"
        with blocking.Client() as client, pytest.raises(OriginDeniedError, match="no credentials"):
            client.push(made.root, image, ref_name="multi")
        wrong = {registry.address: p2p.Credentials("me", "other")}
        with blocking.Client(credentials=wrong) as client, pytest.raises(OriginDeniedError, match="refuses"):
            client.push(made.root, image, ref_name="multi")
        right = {registry.address: p2p.Credentials("me", "secret")}
        with blocking.Client(credentials=right) as client:
            client.push(made.root, image, ref_name="multi")
            assert str(client.inspect(image).digest) == made.multi.digest
        # And what docker login stores is found by the command.
        stored = {"auths": {registry.address: {"auth": base64.b64encode(b"me:secret").decode()}}}
        (directory / "docker").mkdir()
        (directory / "docker" / "config.json").write_text(json.dumps(stored))
        report = json.loads(remora("copy", image, f"{registry.address}/b:1", "--all-platforms", "--json"))
        assert report["blobs"] == {"uploaded": 0, "mounted": 5, "skipped": 0}


def test_the_examples_run(here: DockerRegistry, there: DockerRegistry, made: Made) -> None:
    remora("push", made.root, f"{here.address}/app:1", "--ref", "multi")
    copied = run(
        [sys.executable, EXAMPLES / "copy_image.py", f"{here.address}/app:1", f"{there.address}/app:1"]
    ).stdout
    assert made.multi.digest in copied
    assert digest_by_skopeo(f"{there.address}/app:1") == made.multi.digest
    listed = run([sys.executable, EXAMPLES / "list_layers.py", f"{there.address}/app:1"]).stdout
    for blob in made.multi.blobs:
        if blob.diff_id:
            assert blob.digest in listed
