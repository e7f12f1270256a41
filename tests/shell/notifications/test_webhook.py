from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trustme

from p2p.config import SinkSettings
from p2p.errors import ConfigError, NotificationError
from p2p.net.listeners import open_listeners
from p2p.net.message import Content, Request, Response, Spans
from p2p.net.server import serve
from p2p.notifications.api import Event
from p2p.notifications.webhook import SIGNATURE, open_webhook, signature
from tests.support.happenings import happening

EVENTS = [Event(1, "abc", happening(tags=("1",)))]


@dataclass
class Receiver:
    """Keeps what it gets; answers with ``answer``, or never while that is None."""

    answer: Response | None = field(default_factory=lambda: Response(202))
    got: list[tuple[Request, bytes]] = field(default_factory=list)

    async def handle(self, request: Request) -> Response:
        self.got.append((request, await request.body.read(1 << 20)))
        if self.answer is None:
            await trio.sleep_forever()
        assert self.answer is not None
        return self.answer


@asynccontextmanager
async def serving(receiver: Receiver) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, receiver.handle, await open_listeners("127.0.0.1:0"))
        yield f"http://{server.addresses[0]}/hook?x=1"
        nursery.cancel_scope.cancel()


async def send(url: str, **more: object) -> None:
    settings = SinkSettings(url=url, **more)  # type: ignore[arg-type]
    async with open_webhook("hook", settings, "web-1") as sink:
        await sink.missed()
        await sink.send(EVENTS)


async def test_distributions_envelope_with_headers_and_signature() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        await send(url, secret="s3cret", headers=("Authorization: Bearer t",))
    ((request, body),) = receiver.got
    assert (request.method, request.path, request.query) == ("POST", "/hook", "x=1")
    assert request.header(b"content-type") == "application/vnd.docker.distribution.events.v1+json"
    assert request.header(b"authorization") == "Bearer t"
    assert request.header(SIGNATURE.lower().encode()) == signature("s3cret", body)
    assert json.loads(body)["events"][0]["id"] == "abc"


async def test_cloudevents() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        await send(url, format="cloudevents")
    ((request, body),) = receiver.got
    assert request.header(b"content-type") == "application/cloudevents+json"
    assert request.header(SIGNATURE.lower().encode()) is None
    assert json.loads(body)["specversion"] == "1.0"


def test_the_signature_is_hmac_sha256_of_the_body() -> None:
    # RFC 4231, test case 2.
    assert signature("Jefe", b"what do ya want for nothing?") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@pytest.mark.parametrize("status", [302, 307, 400, 404, 410, 500, 503])
async def test_any_status_but_2xx_is_an_error_and_no_redirect_is_followed(status: int) -> None:
    receiver = Receiver(Response(status, ((b"Location", b"/elsewhere"), (b"Retry-After", b"7"))))
    async with serving(receiver) as url:
        with pytest.raises(NotificationError, match=f"sink hook: it answers with status {status}") as caught:
            await send(url)
    assert caught.value.retry_after == 7.0
    assert len(receiver.got) == 1


async def test_a_silent_receiver_is_left_after_the_timeout() -> None:
    async with serving(Receiver(None)) as url:
        with pytest.raises(NotificationError, match=r"within 0.1 s|ReadTimeout"):
            await send(url, timeout=0.1)


async def test_an_endless_answer_is_not_read() -> None:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async with serving(Receiver(Response(200, body=Spans(1 << 40, parts)))) as url:
        with trio.fail_after(10):
            await send(url)


async def test_a_small_answer_keeps_the_connection() -> None:
    receiver = Receiver(Response(200, body=Content(b"thanks")))
    async with serving(receiver) as url, open_webhook("hook", SinkSettings(url=url), "n") as sink:
        await sink.send(EVENTS)
        await sink.send(EVENTS)
    assert len({request.peer for request, _ in receiver.got}) == 1


async def test_nobody_listens() -> None:
    async with serving(Receiver()) as url:
        pass
    with pytest.raises(NotificationError, match="can't be reached"):
        await send(url)


async def test_certificates_are_checked(tmp_path: object) -> None:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    taken = []

    async def answer(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            taken.append(await tls.receive_some(65536))
            await tls.send_all(b"HTTP/1.1 204 \r\nConnection: close\r\n\r\n")
            await tls.aclose()
        except trio.BrokenResourceError:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/"
        with pytest.raises(NotificationError, match="CERTIFICATE_VERIFY_FAILED"):
            await send(url)
        assert not taken
        with ca.cert_pem.tempfile() as path:
            await send(url, ca_file=path)
        assert taken
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (SinkSettings(), "not one of http or https"),
        (SinkSettings(url="ftp://host/"), "not one of http or https"),
        (SinkSettings(url="http://[::1"), "its url is none"),
        (SinkSettings(url="http://h/", format="xml"), "no format 'xml'"),
        (SinkSettings(url="http://h/", headers=("no colon",)), "one of its headers is none"),
        (SinkSettings(url="http://h/", headers=("A: b\r\nC: d",)), "one of its headers is none"),
        (SinkSettings(url="https://h/", ca_file="/no/such/file"), "can't be read"),
    ],
)
async def test_bad_settings(settings: SinkSettings, told: str) -> None:
    with pytest.raises(ConfigError, match=f"sink hook.*{told}"):
        async with open_webhook("hook", settings, "n"):
            pass
