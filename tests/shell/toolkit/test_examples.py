"""The toolkit’s examples, run as their reader would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2p import blocking
from tests.support.push_registry import registry_in_a_thread
from tests.support.toolkit_rig import make

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_CONFIG": "/nonexistent", "PYTHONPATH": str(EXAMPLES.parents[1])}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environment)


@pytest.mark.slow
def test_both_do_what_they_say(tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    with registry_in_a_thread() as host:
        blocking.Client(environment={}).push(made.root, f"{host}/a:1", ref_name="multi")
        copied = run("copy_image.py", f"{host}/a:1", f"{host}/b:1")
        assert (copied.returncode, copied.stderr) == (0, "")
        assert f"{host}/b:1 is {made.multi.digest}" in copied.stdout
        assert "5 mounted" in copied.stdout
        listed = run("list_layers.py", f"{host}/b:1")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert "shared by 2" in listed.stdout
        assert "linux/arm64" in listed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["copy_image.py", "list_layers.py"])
def test_each_explains_itself_and_ends_with_a_sentence(name: str) -> None:
    assert f"python {name}" in run(name).stderr
    failed = run(name, *["127.0.0.1:1/a:1"] * (2 if "copy" in name else 1))
    assert failed.returncode == 1
    assert "refuses connections" in failed.stderr
    assert "Traceback" not in failed.stderr
