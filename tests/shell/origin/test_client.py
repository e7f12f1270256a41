import json

import pytest

from p2p.core.oci.digest import Digest
from p2p.errors import OriginDeniedError, OriginNotFoundError, OriginProtocolError
from p2p.origin.api import Kind
from p2p.origin.client import EMPTY_INDEX, INDEX, MANIFEST_TYPES
from tests.support.upstream import Registry, Reply, Request, upstream

MANIFEST = b'{"schemaVersion":2}'
TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def registry():
    registry = Registry()
    registry.add_manifest(MANIFEST, TYPE, "latest")
    return registry


async def test_head_asks_for_every_type_and_needs_no_get(connect, registry):
    async with upstream(registry) as server, connect(server.url()) as origin:
        found = await origin.head("lib/a", "latest")
        assert (found.digest, found.size, found.media_type) == (Digest.of(MANIFEST), len(MANIFEST), TYPE)
        (asked,) = server.requests
        assert asked.method == "HEAD"
        assert asked.target == "/v2/lib/a/manifests/latest"
        assert all(name in asked.headers["accept"] for name in MANIFEST_TYPES)


async def test_head_without_a_digest_is_followed_by_a_get(connect, registry):
    registry.digests = False
    async with upstream(registry) as server, connect(server.url()) as origin:
        assert (await origin.head("a", "latest")).digest == Digest.of(MANIFEST)
        assert [r.method for r in server.requests] == ["HEAD", "GET"]
        # By digest there is nothing to learn from the bytes.
        assert (await origin.head("a", str(Digest.of(MANIFEST)))).size == len(MANIFEST)
        assert len(server.requests) == 3


async def test_head_where_the_registry_has_no_head(connect, registry):
    def script(request: Request) -> Reply:
        return Reply(405) if request.method == "HEAD" else registry(request)

    async with upstream(script) as server, connect(server.url()) as origin:
        assert (await origin.head("a", "latest")).digest == Digest.of(MANIFEST)


async def test_head_with_another_digest_than_asked(connect, registry):
    asked = str(Digest.of(b"other"))
    registry.manifests[asked] = registry.manifests["latest"]
    async with upstream(registry) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="another digest"):
            await origin.head("a", asked)
        registry.digests = False
        registry.manifests[asked] = ("", MANIFEST)
        with pytest.raises(OriginProtocolError, match="another digest"):
            await origin.head("a", asked)


@pytest.mark.parametrize("digest", ["sha256:../../etc", "md5:00", "x", "sha256:" + "A" * 64])
async def test_head_with_a_senseless_digest(connect, digest):
    reply = Reply(200, b"x", (("docker-content-digest", digest), ("content-type", TYPE)))
    async with upstream(lambda r: reply) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="no digest"):
            await origin.head("a", "latest")


async def test_unknown_tag(connect, registry):
    async with upstream(registry) as server, connect(server.url()) as origin:
        with pytest.raises(OriginNotFoundError) as caught:
            await origin.head("a", "none")
        assert caught.value.subject == "up"
        with pytest.raises(OriginNotFoundError, match="not known to registry"):
            await origin.tags("a", None, None)


async def test_head_blob(connect, registry):
    digest = registry.add_blob(b"layer")
    async with upstream(registry) as server, connect(server.url()) as origin:
        assert (await origin.head_blob("a", digest)).size == 5
        with pytest.raises(OriginNotFoundError):
            await origin.head_blob("a", Digest.of(b"none"))
    async with upstream(lambda r: Reply(200, length=None)) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="without a Content-Length"):
            await origin.head_blob("a", digest)


async def test_manifest_is_one_get_with_its_type(connect, registry):
    async with upstream(registry) as server, connect(server.url()) as origin:
        async with origin.open("a", Digest.of(MANIFEST), Kind.MANIFEST) as body:
            assert b"".join([part async for part in body]) == MANIFEST
            assert body.media_type == TYPE
        (asked,) = server.requests
        assert "range" not in asked.headers
        assert TYPE in asked.headers["accept"]


@pytest.mark.parametrize(("offset", "stop"), [(-1, None), (5, 5), (5, 4)])
async def test_senseless_spans(connect, registry, offset, stop):
    async with connect("http://127.0.0.1:1") as origin:
        with pytest.raises(ValueError, match="no bytes"):
            origin.open("a", Digest.of(b""), Kind.BLOB, offset=offset, stop=stop)


async def test_referrers_of_the_api(connect):
    index = b'{"schemaVersion":2,"manifests":[]}'
    headers = (("content-type", INDEX), ("oci-filters-applied", "artifactType"), ("set-cookie", "x=y"))
    async with upstream(lambda r: Reply(200, index, headers)) as server, connect(server.url()) as origin:
        fetched = await origin.referrers("a", Digest.of(b"s"), "application/x+y")
        assert (fetched.status, fetched.media_type, fetched.data) == (200, INDEX, index)
        assert dict(fetched.headers)["oci-filters-applied"] == "artifactType"
        assert "set-cookie" not in dict(fetched.headers)
        assert (
            server.requests[0].target == f"/v2/a/referrers/{Digest.of(b's')}?artifactType=application%2Fx%2By"
        )


@pytest.mark.parametrize(
    "first", [Reply(404), Reply(405), Reply(200, b"<html>", (("content-type", "text/html"),))]
)
async def test_referrers_by_the_tag_schema(connect, first):
    digest = Digest.of(b"s")
    index = b'{"schemaVersion":2,"manifests":[{}]}'

    def script(request: Request) -> Reply:
        if "/referrers/" in request.path:
            return first
        assert request.path == f"/v2/a/manifests/sha256-{digest.hex}"
        return Reply(200, index, (("content-type", INDEX),))

    async with upstream(script) as server, connect(server.url()) as origin:
        fetched = await origin.referrers("a", digest, None)
        assert (fetched.data, fetched.media_type) == (index, INDEX)


async def test_referrers_of_nothing(connect):
    async with upstream(lambda r: Reply(404)) as server, connect(server.url()) as origin:
        fetched = await origin.referrers("a", Digest.of(b"s"), None)
        assert (fetched.status, fetched.media_type, fetched.data) == (200, INDEX, EMPTY_INDEX)
        assert json.loads(fetched.data)["manifests"] == []


async def test_refused_referrers_are_no_empty_list(connect):
    async with upstream(lambda r: Reply(403)) as server, connect(server.url()) as origin:
        with pytest.raises(OriginDeniedError):
            await origin.referrers("a", Digest.of(b"s"), None)


async def test_tags_with_page_and_link(connect):
    body = b'{"name":"a","tags":["1","2"]}'
    headers = (("link", '</v2/a/tags/list?n=2&last=2>; rel="next"'), ("content-type", "application/json"))
    async with upstream(lambda r: Reply(200, body, headers)) as server, connect(server.url()) as origin:
        fetched = await origin.tags("a", 2, "x&y")
        assert fetched.data == body
        assert dict(fetched.headers)["link"].startswith("</v2/a/tags")
        assert server.requests[0].target == "/v2/a/tags/list?n=2&last=x%26y"
        await origin.tags("a", None, None)
        assert server.requests[1].target == "/v2/a/tags/list"


async def test_a_url_with_a_path_in_front(connect, registry):
    async with upstream(registry) as server, connect(server.url() + "/proxy/") as origin:
        await origin.head("a", "latest")
        assert server.requests[0].target == "/proxy/v2/a/manifests/latest"


def paged(pages: int, link: str = "/v2/a/referrers/x?page={next}"):
    """A script that gives one referrer on each page."""

    def script(request: Request) -> Reply:
        page = int(request.query.get("page", ["0"])[0])
        entry = {"mediaType": "a/b", "digest": str(Digest.of(b"%d" % page)), "size": 1}
        headers = [("content-type", INDEX)]
        if page + 1 < pages:
            headers.append(("link", f'<{link.format(next=page + 1)}>; rel="next"'))
        return Reply(200, json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(), tuple(headers))

    return script


async def test_referrers_in_pages_are_given_as_one(connect):
    async with upstream(paged(3)) as server, connect(server.url()) as origin:
        found = await origin.referrers("a", Digest.of(b"x"), None)
        listed = [entry["digest"] for entry in json.loads(found.data)["manifests"]]
        assert listed == [str(Digest.of(b"%d" % page)) for page in range(3)]
        assert "link" not in dict(found.headers)


@pytest.mark.parametrize(
    ("pages", "link", "words"),
    [
        (1000, "?page={next}", "more than 64 pages"),
        (2, "ftp://x/", "a next page that redirects to something"),
    ],
)
async def test_pages_that_do_not_end_or_lead_astray(connect, pages: int, link: str, words: str):
    async with upstream(paged(pages, link)) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match=words):
            await origin.referrers("a", Digest.of(b"x"), None)
