import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from p2p.cli.app import main
from tests.support.push_rig import NAME, Push
from tests.support.upkeep_rig import admin_socket

DATA = b"some blob"


async def remora_gc(state: Path, *arguments: str) -> Result:
    line = ["gc", "--state", str(state), *arguments]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, line))


async def test_a_dry_run_and_a_real_one(tmp_path: Path) -> None:
    push = Push()
    digest = await push.blob(DATA)
    await push("DELETE", f"/v2/{NAME}/blobs/{digest}")
    async with admin_socket(tmp_path, push):
        result = await remora_gc(tmp_path, "--dry-run")
        assert result.exit_code == 0
        assert result.stdout == (
            f"{digest}        9 B\n1 blobs, 9 B, would go.\nQueued for review: 1, overdue: 1, put off: 0.\n"
        )
        assert push.store.find(digest) is not None
        found = json.loads((await remora_gc(tmp_path, "--json", "--now")).stdout)
        assert found["collected"] == [{"digest": str(digest), "size": len(DATA)}]
        assert (found["dry_run"], found["bytes"], found["queued"]) == (False, len(DATA), 0)
        assert push.store.find(digest) is None
        result = await remora_gc(tmp_path)
        assert result.stdout.startswith("0 blobs, 0 B, are gone.\n")


async def test_another_front_end_collects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push = Push()

    async def no() -> bool:
        await trio.lowlevel.checkpoint()
        return False

    monkeypatch.setattr(push.hosting, "collects", no)
    async with admin_socket(tmp_path, push):
        result = await remora_gc(tmp_path)
    assert result.exit_code == 0
    assert "Another front end" in result.stderr


def test_no_node(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["gc", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "no node is running there" in result.stderr
