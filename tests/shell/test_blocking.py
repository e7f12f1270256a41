from pathlib import Path

import pytest

from p2p import blocking
from p2p.errors import ConfigError, OriginNotFoundError
from tests.support.push_registry import registry_in_a_thread
from tests.support.toolkit_rig import make


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
