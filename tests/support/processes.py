"""Real processes for the end-to-end tests and the bench: started, watched, stopped, accounted for.

Each runs in a process group of its own with its output in files, so that a test may kill it with
everything it started, and a failure can show what it said.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

_PAUSE = threading.Event()
"""Never set: its ``wait`` is the pause between two looks at a condition."""

STARTED: list[Process] = []
"""Every process started so far, for reports and last clean-up."""

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessFailedError(AssertionError):
    """A process did not start, died, or did not do what was waited for; carries its output."""


def wait_until(what: str, condition: Callable[[], T | None], *, timeout: float = 30.0) -> T:
    """Look every 20 ms until ``condition`` gives something true, and return it.

    Raises ProcessFailedError that names ``what`` after ``timeout`` seconds.
    """
    deadline = time.perf_counter() + timeout
    while not (value := condition()):
        if time.perf_counter() > deadline:
            raise ProcessFailedError(f"waited {timeout:.0f} s in vain: {what}")
        _PAUSE.wait(0.02)
    return value


def free_port() -> int:
    """Find a free TCP port of 127.0.0.1, for programs that cannot take port 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str) -> str:
    """Find a program on the path. Raises ProcessFailedError with the mend: never a skip."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ProcessFailedError(f"{name} is not installed: run tests/e2e/install.sh as root")
    return found


def run(
    argv: Sequence[object],
    *,
    timeout: float = 120.0,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a client to its end and return what it printed; its failure shows both outputs."""
    command = [program(str(argv[0])), *map(str, argv[1:])]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessFailedError(
            f"{' '.join(command)}\nstill running after {timeout:.0f} s\n{error.stdout!r}\n{error.stderr!r}"
        ) from error
    if check and done.returncode:
        raise ProcessFailedError(
            f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
    return done


class Process:
    """One running program. A context manager: leaving it stops the program.

    ``directory`` receives ``<name>.out`` and ``<name>.err``. Started anew, both are appended to.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[object],
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.argv = [program(str(argv[0])), *map(str, argv[1:])]
        self.out = directory / f"{name}.out"
        self.err = directory / f"{name}.err"
        self._env = dict(env or {})
        self._popen: subprocess.Popen[bytes] | None = None
        self._out_start = 0

    @property
    def pid(self) -> int:
        """The process id; the process must have been started."""
        assert self._popen is not None
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code once it ended; negative for a signal."""
        return None if self._popen is None else self._popen.poll()

    def start(self) -> Self:
        """Start it and wait until ``wait_ready`` is content."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start it and do not wait."""
        assert not self.running
        self._out_start = self.out.stat().st_size if self.out.exists() else 0
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **self._env},
                start_new_session=True,
            )
        if self not in STARTED:
            STARTED.append(self)

    def wait_ready(self) -> None:
        """Wait until it serves; what that means is each program's own."""

    def wait_for(self, what: str, condition: Callable[[], T | None], *, timeout: float = 30.0) -> T:
        """Wait for a condition that this process brings about; its end is a failure with its output."""

        def look() -> T | None:
            if value := condition():
                return value
            if not self.running:
                raise ProcessFailedError(f"{self.name} ended with {self.returncode}\n{self.tail()}")
            return None

        try:
            value = wait_until(f"{self.name}: {what}", look, timeout=timeout)
        except ProcessFailedError as error:
            raise ProcessFailedError(f"{error}\n{self.tail()}") from None
        return value

    def wait(self, timeout: float = 30.0) -> int:
        """Wait until it ends by itself and return its exit code."""
        assert self._popen is not None
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessFailedError(f"{self.name} did not end\n{self.tail()}") from None

    def stop(self, timeout: float = 15.0) -> int | None:
        """End it with SIGTERM, with SIGKILL after ``timeout``, and return its exit code."""
        if self._popen is None or self._popen.poll() is not None:
            return self.returncode
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.returncode

    def kill(self) -> None:
        """End it and its group with SIGKILL, at once."""
        assert self._popen is not None
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def output(self) -> str:
        """What this start of it printed on stdout so far."""
        with self.out.open("rb") as file:
            file.seek(self._out_start)
            return file.read().decode(errors="replace")

    def errors(self) -> str:
        """What it ever printed on stderr."""
        return self.err.read_text(errors="replace") if self.err.exists() else ""

    def tail(self, lines: int = 40) -> str:
        """The end of both outputs, for a failure's message."""
        parts = []
        for path in (self.out, self.err):
            if path.exists():
                text = [_shortened(line) for line in path.read_text(errors="replace").splitlines()[-lines:]]
                parts.append(f"--- {path.name}\n" + "\n".join(text))
        return "\n".join(parts)

    def cpu_seconds(self) -> float:
        """User and system time of the process and its threads so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident(self) -> int:
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessFailedError(f"{self.name} has no memory: it ended")

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class ReadyProcess(Process):
    """A program that prints ``{"event": "ready", …}`` on stdout when it serves; ``ready`` holds it."""

    ready: dict[str, Any]

    def wait_ready(self) -> None:
        """Wait for the ready line of this start."""
        self.ready = self.wait_for("its ready line", self._find_ready, timeout=20)

    def _find_ready(self) -> dict[str, Any] | None:
        for line in self.output().splitlines():
            if line.startswith("{") and line.endswith("}"):
                value = json.loads(line)
                if value.get("event") == "ready":
                    return dict(value)
        return None


class Nginx(Process):
    """nginx with sendfile over a directory: ``/files/…``."""

    def __init__(self, root: Path, directory: Path, *, name: str = "nginx", workers: int = 1) -> None:
        self.port = free_port()
        home = directory / name
        home.mkdir(parents=True, exist_ok=True)
        config = home / "nginx.conf"
        config.write_text(
            f"""
            daemon off; user root; pid {home}/pid; worker_processes {workers}; error_log {home}/error.log;
            events {{ worker_connections 256; }}
            http {{
              access_log off; sendfile on; tcp_nopush on; sendfile_max_chunk 2m; keepalive_timeout 60s;
              client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
              fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
              server {{ listen 127.0.0.1:{self.port}; location /files/ {{ alias {root}/; }} }}
            }}
            """
        )
        argv = ["nginx", "-e", home / "start.log", "-p", home, "-c", config]
        super().__init__(name, argv, directory)

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    def wait_ready(self) -> None:
        """Wait until the port answers."""
        self.wait_for("its port", lambda: listening(self.port))

    def cpu_seconds(self) -> float:
        """The workers' time: the master does nothing."""
        return sum(_cpu(pid) for pid in (self.pid, *children(self.pid)))


def kill_all() -> None:
    """Kill what still runs: for the end of a session that was interrupted."""
    for process in STARTED:
        if process.running:
            process.kill()


def listening(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children(pid: int) -> list[int]:
    """List a process's children."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _shortened(line: str) -> str:
    """Cut the middle out of a long line: a traceback's cause stands at its end."""
    return line if len(line) <= 1600 else f"{line[:400]} … {line[-1200:]}"


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
