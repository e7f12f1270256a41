"""Child processes that tell when they are ready, and that are gone when we are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from p2p.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path

READY_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 8.0
_LINE_LIMIT: Final = 1 << 20
_TAIL: Final = 5


@dataclass(slots=True)
class Child:
    """One of our processes. ``ready`` is what it told on its ready line, a JSON object."""

    name: str
    process: trio.Process
    log: Path
    ready: dict[str, Any]


def environment() -> dict[str, str]:
    """Give our environment without the settings in it: children are told all by flags."""
    return {key: value for key, value in os.environ.items() if not key.startswith("REMORA_")}


class Children:
    """Starts processes; leaving ``open_children`` ends them, whatever happened."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started: list[tuple[str, trio.Process]] = []

    async def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start ``remora ARGUMENTS`` and wait for its ready line.

        LocalError with the end of its log if it ends or says nothing within 30 s.
        """
        log = self._logs / f"{name}.log"
        with log.open("wb") as stderr, trio.CancelScope(shield=True):
            # Shielded: a process that was started must come to be in the list. Its own session: Ctrl-C in
            # the terminal goes to us alone, and we end it in order.
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "p2p", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=environment(),
            )
            self._started.append((name, process))
        line = b""
        with trio.move_on_after(READY_TIMEOUT):
            line = await _read_line(process)
        try:
            ready = json.loads(line)
        except ValueError:
            ready = None
        if not isinstance(ready, dict):
            raise LocalError(name, f"it did not become ready: {_tail(log)}")
        return Child(name, process, log, ready)

    async def stop(self) -> None:
        """Ask all to end, wait, and kill what is left; bounded in time."""
        for _, process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_TIMEOUT):
            for _, process in self._started:
                await process.wait()
        for _, process in self._started:
            if process.poll() is None:
                process.kill()
        for _, process in self._started:
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


@asynccontextmanager
async def open_children(logs: Path) -> AsyncIterator[Children]:
    """Give something to start processes with; at the end, even a cancelled one, all are gone."""
    children = Children(logs)
    try:
        yield children
    finally:
        with trio.CancelScope(shield=True):
            await children.stop()


async def _read_line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    line = bytearray()
    while b"\n" not in line and len(line) < _LINE_LIMIT:
        part = await process.stdout.receive_some()
        if not part:
            break
        line += part
    return bytes(line.partition(b"\n")[0])


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-_TAIL:]) or "its log is empty"
