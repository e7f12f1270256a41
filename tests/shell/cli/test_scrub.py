import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from p2p.cli.app import main
from p2p.cli.scrub import _Count
from p2p.core.oci.digest import Digest
from tests.support.push_rig import Push
from tests.support.upkeep_rig import admin_socket, corrupt


async def remora_scrub(state: Path, *arguments: str) -> Result:
    line = ["scrub", "--state", str(state), *arguments]
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, line))


async def test_good_and_bad(tmp_path: Path) -> None:
    push = Push()
    good, bad = await push.blob(b"good"), await push.blob(b"bad")
    async with admin_socket(tmp_path, push):
        result = await remora_scrub(tmp_path)
        assert (result.exit_code, result.stdout) == (0, "2 blobs hashed, 0 bad, 0 could not be.\n")
        corrupt(push, bad)
        result = await remora_scrub(tmp_path, str(good))
        assert (result.exit_code, result.stdout) == (0, "1 blobs hashed, 0 bad, 0 could not be.\n")
        result = await remora_scrub(tmp_path, str(good), str(bad))
        assert result.exit_code == 1
        assert result.stdout.startswith(f"bad  {bad}  its bytes do not match")
        assert push.store.find(bad) is None
        result = await remora_scrub(tmp_path, str(bad))
        assert result.exit_code == 1
        assert f"{bad} is not in the store of this node" in result.stderr


async def test_json(tmp_path: Path) -> None:
    push = Push()
    bad = await push.blob(b"bad")
    corrupt(push, bad)
    async with admin_socket(tmp_path, push):
        result = await remora_scrub(tmp_path, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["good"], found["bad"], found["failed"]) == (0, 1, 0)
    assert [one["digest"] for one in found["wrong"]] == [str(bad)]


def test_what_is_no_digest_and_no_node(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["scrub", "nginx"]).exit_code == 2
    result = CliRunner().invoke(main, ["scrub", "--state", str(tmp_path), str(Digest.of(b""))])
    assert result.exit_code == 1
    assert "no node is running there" in result.stderr


def test_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    count = _Count(shown=True)
    count.begin({"blobs": 2, "bytes": 3000})
    count.add({"size": 1000})
    count.end()
    assert "1 of 2 blobs, 1000 B of 2.9 KiB" in capsys.readouterr().err
    count = _Count(shown=False)
    count.begin({"blobs": 2, "bytes": 3000})
    count.end()
    assert capsys.readouterr().err == ""
