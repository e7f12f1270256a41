"""What `remora doctor` says of shared content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2p.cli.checks import Verdict
from p2p.cli.content_checks import check_content
from p2p.config import HostingSettings, NodeSettings
from p2p.content.factory import open_content

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from p2p.cli.checks import Finding


async def found(url: str, *options: str) -> Finding:
    settings = NodeSettings(hosting=HostingSettings(content=url, content_options=options))
    (finding,) = await check_content(settings)
    return finding


async def test_none_is_no_finding() -> None:
    assert await check_content(NodeSettings()) == []


async def test_one_that_works_is_left_as_it_was(tmp_path: Path) -> None:
    finding = await found(f"file://{tmp_path}")
    assert finding.verdict is Verdict.GOOD
    assert "can be read and written" in finding.state
    async with open_content(f"file://{tmp_path}") as content:
        assert await content.keys() == []


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    finding = await found(f"file://{tmp_path}/none")
    assert finding.verdict is Verdict.BAD
    assert f"file://{tmp_path}/none: No such file" in finding.state
    assert "Mount it" in finding.mend


async def test_a_setting_that_is_wrong() -> None:
    finding = await found("s3://bucket", "secret=x")
    assert finding.verdict is Verdict.BAD
    assert "no option 'secret'" in finding.state


async def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    finding = await found("s3://bucket", "endpoint=http://127.0.0.1:9", "region=us-east-1")
    assert finding.verdict is Verdict.BAD
    assert finding.state.startswith("s3://bucket: ")
    assert "server at the endpoint" in finding.mend
