import base64
import json

import pytest
import trio

from p2p.config import UpstreamSettings
from p2p.errors import (
    ConfigError,
    OriginDeniedError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
)
from p2p.origin.breaker import State
from p2p.origin.client import RegistryOrigin
from p2p.origin.session import Ask
from tests.support.upstream import Registry, Reply, Request, upstream

PASSWORD = {"username": "bob", "password": "pw"}


def ask(method: str = "GET", target: str = "/v2/a/b/blobs/x") -> Ask:
    return Ask(method, target, "a/b")


def redirect(location: str, status: int = 307) -> Reply:
    return Reply(status, b"moved", (("location", location),))


class Guarded:
    """A registry that wants tokens; its realm is on the same server under /token."""

    def __init__(self) -> None:
        self.valid = {"t1"}
        self.port = 0
        self.realm = ""
        self.scope = "repository:a/b:pull"
        self.issued = 0

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.issued += 1
            return Reply(200, json.dumps({"token": f"t{self.issued}", "expires_in": 300}).encode())
        authorization = request.headers.get("authorization", "")
        if authorization.removeprefix("Bearer ") in self.valid:
            return Reply(200, b"secret content")
        realm = self.realm or f"http://127.0.0.1:{self.port}/token"
        challenge = f'Bearer realm="{realm}",service="svc",scope="{self.scope}"'
        return Reply(401, b"{}", (("www-authenticate", challenge),))


async def read(origin, asked: Ask) -> bytes:
    answer = await origin.session.send(asked)
    return await answer.read(1000, "it")


async def test_token_flow_and_then_no_more_401(connect):
    script = Guarded()
    async with upstream(script) as server, connect(server.url()) as origin:
        script.port = server.port
        assert await read(origin, ask()) == b"secret content"
        assert await read(origin, ask()) == b"secret content"
        paths = [(r.path, "authorization" in r.headers) for r in server.requests]
        assert paths == [
            ("/v2/a/b/blobs/x", False),
            ("/token", False),
            ("/v2/a/b/blobs/x", True),
            ("/v2/a/b/blobs/x", True),
        ]
        assert server.requests[1].query == {"service": ["svc"], "scope": ["repository:a/b:pull"]}
        assert server.connections == 1


async def test_credentials_go_to_the_realm_only(connect):
    script = Guarded()
    async with upstream(script) as server, connect(server.url(), **PASSWORD) as origin:
        script.port = server.port
        await read(origin, ask())
        (fetched,) = server.asked(part="/token")
        assert fetched.headers["authorization"] == "Basic " + base64.b64encode(b"bob:pw").decode()
        assert fetched.query["account"] == ["bob"]
        assert all(
            not r.headers.get("authorization", "").startswith("Basic") for r in server.asked(part="/v2/")
        )


async def test_a_token_that_ended_early_is_replaced(connect):
    script = Guarded()
    async with upstream(script) as server, connect(server.url()) as origin:
        script.port = server.port
        await read(origin, ask())
        script.valid = {"t2"}
        assert await read(origin, ask()) == b"secret content"
        assert script.issued == 2


async def test_tokens_that_never_help_end_in_a_clear_error(connect):
    script = Guarded()
    script.valid = set()
    async with upstream(script) as server, connect(server.url()) as origin:
        script.port = server.port
        with pytest.raises(OriginDeniedError, match=r"no credentials.*docker login 127\.0\.0\.1"):
            await read(origin, ask())
        assert len(server.requests) <= 6


@pytest.mark.parametrize("realm", ["http://localhost:{port}/token", "http://evil.example/token"])
async def test_realm_of_another_domain_gets_nothing(connect, realm):
    script = Guarded()
    async with upstream(script) as server, connect(server.url(), **PASSWORD) as origin:
        script.port = server.port
        script.realm = realm.format(port=server.port)
        with pytest.raises(OriginDeniedError, match=r"another domain.*token_hosts"):
            await read(origin, ask())
        assert not server.asked(part="/token")


async def test_realm_of_an_allowed_host(connect):
    script = Guarded()
    settings = {"token_hosts": ("localhost",), "private_addresses": True}
    async with upstream(script) as server, connect(server.url(), **settings) as origin:
        script.port = server.port
        script.realm = f"http://localhost:{server.port}/token"
        assert await read(origin, ask()) == b"secret content"


async def test_realm_may_not_redirect(connect):
    def script(request: Request) -> Reply:
        if request.path == "/token":
            return redirect("/elsewhere")
        return Reply(401, headers=(("www-authenticate", f'Bearer realm="http://127.0.0.1:{port[0]}/token"'),))

    port = [0]
    async with upstream(script) as server, connect(server.url(), **PASSWORD) as origin:
        port[0] = server.port
        with pytest.raises(OriginStatusError):
            await read(origin, ask())
        assert not server.asked(part="/elsewhere")


async def test_basic(connect):
    def script(request: Request) -> Reply:
        if "authorization" in request.headers:
            return Reply(200, request.headers["authorization"].encode())
        return Reply(401, headers=(("www-authenticate", 'Basic realm="r"'),))

    async with upstream(script) as server, connect(server.url(), **PASSWORD) as origin:
        assert (await read(origin, ask())).startswith(b"Basic ")
        assert (await read(origin, ask())).startswith(b"Basic ")
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("challenge", "settings", "words"),
    [
        ('Basic realm="r"', {}, "wants a user name"),
        ('Basic realm="r"', PASSWORD, "refuses the password of user bob"),
        ("Digest x=y", {}, "don't know"),
    ],
)
async def test_denied(connect, challenge, settings, words):
    def script(request: Request) -> Reply:
        return Reply(401, headers=(("www-authenticate", challenge),))

    async with upstream(script) as server, connect(server.url(), **settings) as origin:
        with pytest.raises(OriginDeniedError, match=words):
            await read(origin, ask())


async def test_a_broken_helper_is_named_where_we_are_refused(connect, tmp_path):
    (tmp_path / "config.json").write_text('{"credsStore": "desktop"}')
    environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": "/nowhere"}

    def script(request: Request) -> Reply:
        return Reply(401, headers=(("www-authenticate", "Basic"),))

    async with upstream(script) as server, connect(server.url(), environment=environment) as origin:
        with pytest.raises(OriginDeniedError, match="docker-credential-desktop"):
            await read(origin, ask())


async def test_redirect_to_another_host_drops_credentials(connect):
    storage = Registry()
    digest = storage.add_blob(b"layer")

    def script(request: Request) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, headers=(("www-authenticate", "Basic"),))
        return redirect(f"{cdn.url('localhost')}/v2/x/blobs/{digest}?sig=1")

    async with (
        upstream(storage) as cdn,
        upstream(script) as server,
        connect(server.url(), private_addresses=True, **PASSWORD) as origin,
    ):
        assert await read(origin, ask()) == b"layer"
        assert "authorization" not in cdn.requests[0].headers
        assert cdn.requests[0].headers["accept-encoding"] == "identity"
        assert cdn.requests[0].headers["user-agent"] == "remora-test"


async def test_redirect_to_another_port_drops_credentials_and_its_401_gets_none(connect):
    def thief(request: Request) -> Reply:
        return Reply(401, headers=(("www-authenticate", "Basic"),))

    def script(request: Request) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, headers=(("www-authenticate", "Basic"),))
        return redirect(f"{other.url()}/x")

    async with (
        upstream(thief) as other,
        upstream(script) as server,
        connect(server.url(), **PASSWORD) as origin,
    ):
        with pytest.raises(OriginDeniedError, match="gets no credentials"):
            await read(origin, ask())
        assert [r.headers.get("authorization") for r in other.requests] == [None]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://[fd00:ec2::254]/",
        "http://10.0.0.1/",
        "http://0.0.0.0:{port}/",
        "http://localhost:{port}/v2/inside",
        "http://127.0.0.2:{port}/v2/inside",
    ],
)
async def test_redirect_inside_is_refused_and_nothing_is_sent(connect, location):
    def script(request: Request) -> Reply:
        return redirect(location.format(port=server.port))

    async with upstream(script) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="must not lead"):
            await read(origin, ask())
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "location", ["", "ftp://x/", "http://u:p@127.0.0.1/", "http://a\\@b/", "http://exa mple/"]
)
async def test_senseless_redirects(connect, location):
    async with upstream(lambda request: redirect(location)) as server, connect(server.url()) as origin:
        with pytest.raises((OriginProtocolError, OriginUnreachableError)):
            await read(origin, ask())
        assert len(server.requests) == 1


async def test_a_host_that_is_spelt_in_two_ways_is_refused(connect):
    """It is vetted by one reader of URLs and dialled by another: they must agree."""
    async with connect("http://127.0.0.1:1") as origin:
        with pytest.raises(OriginProtocolError, match="two readers"):
            await read(origin, Ask("GET", "", "a/b", at="http://fa\xdf.invalid/x"))


async def test_an_international_name_in_its_ascii_form_is_dialled(connect):
    async with (
        upstream(lambda request: redirect("http://xn--fa-hia.invalid/x")) as server,
        connect(server.url()) as origin,
    ):
        with pytest.raises(OriginUnreachableError, match=r"xn--fa-hia\.invalid"):
            await read(origin, ask())


async def test_redirects_end(connect):
    async with (
        upstream(lambda request: redirect(request.target + "x")) as server,
        connect(server.url()) as origin,
    ):
        with pytest.raises(OriginProtocolError, match="more than 5"):
            await read(origin, ask())
        assert len(server.requests) == 6
        assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, OriginNotFoundError),
        (403, OriginDeniedError),
        (500, OriginStatusError),
        (204, OriginStatusError),
    ],
)
async def test_statuses_carry_the_registrys_words(connect, status, kind):
    body = (
        b""
        if status == 204
        else b'{"errors":[{"code":"X","message":"because\x1b \\u001b[1m"}]}'.replace(b"\x1b", b"")
    )
    length = None if status == 204 else -1
    async with (
        upstream(lambda r: Reply(status, body, length=length)) as server,
        connect(server.url()) as origin,
    ):
        with pytest.raises(kind) as caught:
            await read(origin, ask())
        assert caught.value.subject == "up"
        assert ("because" in str(caught.value)) == bool(body)
        assert "\x1b" not in str(caught.value)


async def test_429_opens_the_breaker_for_what_it_states(connect):
    answers = [Reply(429, b"", (("retry-after", "30"),))]
    async with upstream(lambda r: answers[0]) as server, connect(server.url()) as origin:
        for _ in range(3):
            with pytest.raises(OriginLimitedError) as caught:
                await read(origin, ask())
            assert 28 < caught.value.retry_after <= 30
        assert len(server.requests) == 1


async def test_5xx_opens_the_breaker_and_small_requests_are_tried_again(connect):
    async with upstream(lambda r: Reply(503)) as server, connect(server.url()) as origin:
        with pytest.raises(OriginStatusError):
            await origin.session.small(ask("HEAD"))
        assert len(server.requests) == 3
        with pytest.raises(OriginLimitedError):
            await origin.session.small(ask("HEAD"))
        assert len(server.requests) == 5


async def test_a_passing_5xx_is_not_seen(connect):
    answers = [Reply(502), Reply(200, b"fine")]
    async with upstream(lambda r: answers.pop(0)) as server, connect(server.url()) as origin:
        answer = await origin.session.small(ask())
        assert await answer.read(10, "it") == b"fine"


async def test_streams_are_not_tried_again(connect):
    async with upstream(lambda r: Reply(502)) as server, connect(server.url()) as origin:
        with pytest.raises(OriginStatusError):
            await origin.session.send(ask())
        assert len(server.requests) == 1


async def test_encoded_bodies_are_refused(connect):
    bomb = Reply(200, b"\x1f\x8b" + b"\0" * 100, (("content-encoding", "gzip"),))
    async with upstream(lambda r: bomb) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="encoded"):
            await read(origin, ask())


@pytest.mark.parametrize("length", [-1, None])
async def test_small_bodies_are_capped(connect, length):
    long = Reply(200, b"x" * 100000, length=length)
    async with upstream(lambda r: long) as server, connect(server.url()) as origin:
        with pytest.raises(OriginProtocolError, match="longer than 1000"):
            await read(origin, ask())
        answer = await origin.session.send(ask())
        assert answer.status == 200
        await answer.aclose()


async def test_refused_connection(connect):
    async with upstream(Registry()) as server:
        pass
    async with connect(server.url()) as origin:
        with pytest.raises(OriginUnreachableError, match=r"refuses connections.*Check that"):
            await read(origin, ask())


@pytest.mark.slow
async def test_total_silence_ends_in_time(connect):
    stalled = Reply(200, b"abc", stall=1)
    async with upstream(lambda r: stalled) as server, connect(server.url(), read_timeout=0.3) as origin:
        with trio.fail_after(3), pytest.raises(OriginUnreachableError, match="silent"):
            await read(origin, ask())


async def test_a_cut_body_is_unreachable(connect):
    cut = Reply(200, b"abc", length=9, cut=1)
    async with upstream(lambda r: cut) as server, connect(server.url()) as origin:
        with pytest.raises(OriginUnreachableError, match="middle"):
            await read(origin, ask())


async def test_a_half_open_breaker_that_meets_no_server_stays_open(connect):
    async with upstream(Registry()) as server:
        pass
    async with connect(server.url()) as origin:
        breaker = origin.session.breaker
        breaker.failed(trio.current_time() - 60, 30.0)
        with pytest.raises(OriginUnreachableError):
            await read(origin, ask())
        assert breaker.state is State.OPEN
        with pytest.raises(OriginLimitedError):
            await read(origin, ask())


async def test_cancelled_in_the_middle_leaves_no_connection(connect):
    stalled = Reply(200, b"abc", stall=2)
    async with upstream(lambda r: stalled) as server, connect(server.url()) as origin:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, origin, ask())
            with trio.fail_after(5):
                while server.sent < 2:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        (pool,) = origin.session._transport._pools.values()
        assert not pool.connections


def test_a_senseless_url_is_a_config_error():
    for url in ("reg.example", "ftp://x", "", "https://", "http://x:0"):
        with pytest.raises(ConfigError, match=r"upstreams\.up\.url"):
            RegistryOrigin("up", UpstreamSettings(url=url), user_agent="x")
