import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from p2p import blocking
from p2p.errors import ConfigError, OriginNotFoundError
from tests.support.push_registry import PushRegistry
from tests.support.toolkit_rig import make
from tests.support.upstream import upstream


@contextmanager
def registry_in_a_thread() -> Iterator[str]:
    """Run a registry on a loop of its own; gives its host."""
    ready = threading.Event()
    found: list[tuple[int, trio.lowlevel.TrioToken, trio.Event]] = []

    async def main() -> None:
        async with upstream(PushRegistry()) as server:
            stop = trio.Event()
            found.append((server.port, trio.lowlevel.current_trio_token(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    ready.wait(10)
    port, token, stop = found[0]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=token)
        thread.join(10)


def test_all_calls_block_and_give_results(tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    events: list[object] = []
    with registry_in_a_thread() as host, blocking.Client(environment={}) as client:
        pushed = client.push(made.root, f"{host}/a:1", ref_name="multi", progress=events.append)
        assert client.copy(f"{host}/a:1", f"{host}/b:1", all_platforms=True).mounted == 5
        assert client.inspect(f"{host}/b:1").digest == pushed.digest
        assert client.pull(f"{host}/b:1", tmp_path / "out", platform="linux/arm64").blobs == 3
        with pytest.raises(OriginNotFoundError):
            client.inspect(f"{host}/c:1")
    assert events


def test_wrong_arguments_are_told_at_once() -> None:
    with pytest.raises(ConfigError):
        blocking.Client(node="nowhere")
