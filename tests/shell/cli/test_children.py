import signal
from pathlib import Path

import pytest
import trio

from p2p.cli.children import environment, open_children
from p2p.errors import LocalError


def test_children_do_not_inherit_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMORA_TRACKER", "ws://elsewhere:1")
    assert not any(name.startswith("REMORA_") for name in environment())


@pytest.mark.slow
async def test_a_child_that_ends_at_once_is_explained_by_its_log(tmp_path: Path) -> None:
    async with open_children(tmp_path) as children:
        with pytest.raises(LocalError, match=r"broken: it did not become ready: .*there is no such file"):
            await children.start("broken", ["node", "--config", "/nowhere.toml"])


@pytest.mark.slow
async def test_nothing_is_left_when_the_work_is_cancelled(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_children(tmp_path) as children:
            child = await children.start("tracker", ["tracker", "--listen", "127.0.0.1:0"])
            assert child.ready["listen"].startswith("127.0.0.1:")
            assert child.process.poll() is None
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert child.process.returncode is not None


@pytest.mark.slow
async def test_a_child_that_is_deaf_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2p.cli.children.STOP_TIMEOUT", 0.1)
    async with open_children(tmp_path) as children:
        child = await children.start("tracker", ["tracker", "--listen", "127.0.0.1:0"])
        child.process.send_signal(signal.SIGSTOP)
    assert child.process.returncode == -signal.SIGKILL
