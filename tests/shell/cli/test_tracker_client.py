import pytest
import trio
import trio_websocket

from p2p.cli.tracker_client import open_any_tracker, open_tracker
from p2p.core.wire import codec
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.tracker import (
    ClientHello,
    JobReport,
    NodeTable,
    PrefetchAsk,
    PrefetchCancel,
    Refused,
    Welcome,
)
from p2p.errors import TrackerError

WELCOME = Welcome(PROTOCOL_VERSION, 1.0, "127.0.0.1")
REPORT = JobReport("job-1", (), done=True)


async def test_hello_ask_report_cancel(open_tracker_twin) -> None:
    async with (
        open_tracker_twin([[WELCOME], [NodeTable(()), REPORT]]) as twin,
        open_tracker(twin.url) as tracker,
    ):
        await tracker.prefetch(("app:1",), ("web-*",))
        assert await tracker.next_report() == REPORT
        await tracker.cancel("job-1")
        await twin.wait_for(3)
    assert twin.got == [
        ClientHello(PROTOCOL_VERSION),
        PrefetchAsk(("app:1",), ("web-*",)),
        PrefetchCancel("job-1"),
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Refused("too many jobs"), "it refuses: too many jobs"),
        (Welcome(PROTOCOL_VERSION + 1, 1.0, ""), "another version"),
        (REPORT, "another version"),
        (None, "it closed the connection"),
        (b"\xc1", "no message"),
    ],
)
async def test_what_is_wrong_is_said(open_tracker_twin, answer: object, words: str) -> None:
    async with open_tracker_twin([[answer]]) as twin:
        with pytest.raises(TrackerError, match=words) as caught:
            async with open_tracker(twin.url):
                pass
        assert twin.url in caught.value.subject


async def test_nobody_there() -> None:
    with pytest.raises(TrackerError, match=r"can't be reached.*remora tracker"):
        async with open_tracker("ws://127.0.0.1:1"):
            pass


async def test_something_else_there(registry, open_server) -> None:
    async with open_server(registry.handle) as url:
        with pytest.raises(TrackerError, match="can't be reached"):
            async with open_tracker(url.replace("http", "ws")):
                pass


async def test_silence(open_tracker_twin, autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        socket = await trio_websocket.wrap_server_stream(nursery, theirs)
        connection = await socket.accept()
        await connection.get_message()

    from p2p.cli.tracker_client import TrackerClient

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        socket = await trio_websocket.wrap_client_stream(nursery, ours, "t", "/")
        with pytest.raises(TrackerError, match="no answer within 5 s"):
            await TrackerClient(socket, "ws://t").hello()
        nursery.cancel_scope.cancel()
    assert codec.encode(WELCOME)


async def test_any_of_several_will_do(open_tracker_twin) -> None:
    async with (
        open_tracker_twin([[WELCOME], [REPORT]]) as twin,
        open_any_tracker(("ws://127.0.0.1:1", twin.url)) as tracker,
    ):
        await tracker.prefetch(("app:1",), ("*",))
        assert await tracker.next_report() == REPORT
    with pytest.raises(TrackerError, match=r"127\.0\.0\.2.*can't be reached"):
        async with open_any_tracker(("ws://127.0.0.1:1", "ws://127.0.0.2:1")):
            pass
