import json
from pathlib import Path

import httpx
import pytest

from p2p.cli.demo_image import make_image
from p2p.cli.progress import Silence
from p2p.core.oci.descriptor import Descriptor, Platform
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST
from p2p.errors import RemoteError, VerificationError
from p2p.toolkit.image import ImageClient, ImageName, InterruptedPullError
from p2p.toolkit.layout import Layout
from p2p.toolkit.pulling import ATTEMPTS, HashSink, fill, pull_image

AMD64 = Platform("linux", "amd64")


@pytest.fixture
def image(registry, tmp_path: Path):
    """Put an image of two layers into the registry as app:1; gives its index's descriptor."""
    made = make_image(tmp_path / "source", "app:1", (3_000_000, 700))
    for path in (tmp_path / "source/blobs/sha256").iterdir():
        data = path.read_bytes()
        registry.content[f"app/blobs/sha256:{path.name}"] = ("application/octet-stream", data)
        if data.startswith(b"{"):
            kind = json.loads(data).get("mediaType", OCI_MANIFEST)
            registry.content[f"app/manifests/sha256:{path.name}"] = (kind, data)
    index = registry.content[f"app/manifests/{made.index.digest}"]
    registry.content["app/manifests/1"] = index
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "out")
    layout.create()
    return layout


async def pull(registry, open_server, layout: Layout, platform: Platform | None = AMD64):
    name = ImageName.parse("app:1")
    async with open_server(registry.handle) as url, httpx.AsyncClient(base_url=url) as http:
        return await pull_image(ImageClient(http, name), name, layout, platform, Silence())


def check(layout: Layout) -> None:
    for path in (layout.root / "blobs/sha256").iterdir():
        assert Digest.of(path.read_bytes()).hex == path.name


async def test_one_platform(registry, open_server, image, layout: Layout) -> None:
    pulled = await pull(registry, open_server, layout)
    assert pulled.descriptor.media_type == OCI_MANIFEST
    assert pulled.blobs == 3
    assert pulled.received == pulled.total
    check(layout)
    asked = len(registry.asked)
    again = await pull(registry, open_server, layout)
    assert again.received == 0
    assert len(registry.asked) == asked + 2  # two manifests, no blob


async def test_all_platforms(registry, open_server, image, layout: Layout) -> None:
    pulled = await pull(registry, open_server, layout, None)
    assert pulled.descriptor.digest == image.index.digest
    assert pulled.descriptor.media_type == OCI_INDEX
    assert layout.path(image.index.digest).is_file()
    check(layout)


async def test_another_platform_is_named(registry, open_server, image, layout: Layout) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(RemoteError, match=r"not made for linux/s390x.*--platform one of linux/amd64"),
        flatten_subgroups=True,
    ):
        await pull(registry, open_server, layout, Platform("linux", "s390x"))
    assert not (layout.root / "index.json").exists()


def largest(registry) -> str:
    return max(
        (path for path in registry.content if "/blobs/" in path), key=lambda p: len(registry.content[p][1])
    )


async def test_a_cut_is_resumed_where_it_came(registry, open_server, image, layout: Layout) -> None:
    path = largest(registry)
    registry.cut[path] = 1_000_000
    pulled = await pull(registry, open_server, layout)
    spans = [span for asked, _, span in registry.asked if asked == path]
    assert spans == [None, "bytes=1000000-"]
    assert pulled.received == pulled.total
    check(layout)


@pytest.mark.slow
async def test_what_an_earlier_pull_left_is_used(registry, open_server, image, layout: Layout) -> None:
    path = largest(registry)
    data = registry.content[path][1]
    registry.status[path] = 404
    registry.cut[path] = 0
    with pytest.raises(BaseExceptionGroup):
        await pull(registry, open_server, layout)
    writer = layout.writer(Digest.parse(path.rpartition("/")[2]), len(data))
    writer.resume()
    writer.write(data[:2_000_000])
    writer.close()
    del registry.status[path], registry.cut[path]
    registry.asked.clear()
    await pull(registry, open_server, layout)
    assert [span for asked, _, span in registry.asked if asked == path] == ["bytes=2000000-"]
    check(layout)


async def test_wrong_bytes_left_behind_are_fetched_anew_and_wrong_ones_from_the_node_refused(
    registry, open_server, image, layout: Layout
) -> None:
    path = largest(registry)
    kind, data = registry.content[path]
    digest = Digest.parse(path.rpartition("/")[2])
    writer = layout.writer(digest, len(data))
    writer.resume()
    writer.write(b"wrong")
    writer.close()
    await pull(registry, open_server, layout)
    check(layout)
    layout.path(digest).unlink()
    registry.content[path] = (kind, b"x" * len(data))
    with pytest.raises(BaseExceptionGroup) as caught:
        await pull(registry, open_server, layout)
    assert caught.group_contains(VerificationError, match="do not match")
    assert not layout.holds(digest, len(data))


async def test_a_node_that_gives_nothing_is_given_up(registry, open_server, autojump_clock) -> None:
    digest = Digest.of(b"hello")

    class Nothing:
        attempts = 0

        async def handle(self, request: httpx.Request) -> httpx.Response:
            self.attempts += 1
            return httpx.Response(503)

    nothing = Nothing()
    transport = httpx.MockTransport(nothing.handle)
    async with httpx.AsyncClient(base_url="http://node", transport=transport) as http:
        blob = Descriptor("a/b", digest, 5)
        with pytest.raises(InterruptedPullError, match="status 503"):
            await fill(ImageClient(http, ImageName.parse("app:1")), blob, HashSink(blob), Silence())
    assert nothing.attempts == ATTEMPTS


def test_the_sink_that_only_hashes() -> None:
    sink = HashSink(Descriptor("a/b", Digest.of(b"hello"), 5))
    sink.write(b"hel")
    with pytest.raises(VerificationError):
        sink.finish()
    sink.write(b"lo")
    sink.finish()
