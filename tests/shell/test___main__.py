import subprocess
import sys

import pytest


@pytest.mark.slow
def test_python_m_p2p_is_remora() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "p2p", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("remora 0.")
