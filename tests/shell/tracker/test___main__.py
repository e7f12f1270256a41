from __future__ import annotations

import json
import signal
import subprocess
import sys

import httpx
import pytest
import trio

pytestmark = pytest.mark.slow


async def start(*flags):
    return await trio.lowlevel.open_process(
        [sys.executable, "-m", "tracker", "--listen", "127.0.0.1:0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ready_line_and_a_quiet_end(number):
    process = await start()
    try:
        with trio.fail_after(20):
            ready = json.loads(await process.stdout.receive_some())
            assert ready["event"] == "ready"
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://{ready['listen']}/readyz")).status_code == 200
            process.send_signal(number)
            assert await process.wait() == 0
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
            await process.stdout.aclose()


@pytest.mark.parametrize(
    ("flags", "code", "word"),
    [
        (["--listen", "0.0.0.0:0"], 2, "insecure"),
        (["--config", "/nonexistent/tracker.toml"], 2, "no such file"),
        (["--listen", "192.0.2.77:0", "--insecure"], 1, "192.0.2.77"),
        (["--listen", "nonsense"], 2, "host:port"),
    ],
)
def test_errors_are_one_line(flags, code, word):
    result = subprocess.run(
        [sys.executable, "-m", "tracker", *flags], capture_output=True, text=True, check=False, timeout=30
    )
    assert result.returncode == code
    assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
