"""What ``remora doctor`` looks at: each check is a function that gives findings and raises nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2p.cli.units import format_size
from p2p.cli.validate import split_address
from p2p.config import WELL_KNOWN

if TYPE_CHECKING:
    from p2p.config import NodeSettings

OLDEST: Final = (3, 11)
DESCRIPTORS: Final = 4096
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Verdict(Enum):
    """How a check came out; the value is its mark."""

    GOOD = "✓"
    NOTE = "•"
    BAD = "✗"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the thing, how it is, and the mend where it needs one."""

    verdict: Verdict
    thing: str
    state: str
    mend: str = ""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether this Python is one that we run on."""
    text = ".".join(map(str, version))
    if version < OLDEST:
        return Finding(Verdict.BAD, "python", f"{text} is too old", "Use Python 3.11 or newer")
    return Finding(Verdict.GOOD, "python", text)


def check_hashing() -> Finding:
    """Whether single chunks can be verified."""
    from p2p.store.verify import LinkHasher

    hasher = LinkHasher.load()
    if hasher.available:
        return Finding(Verdict.GOOD, "libcrypto", f"{hasher.source}: midstates pass their self-test")
    return Finding(
        Verdict.NOTE,
        "libcrypto",
        f"no midstates ({hasher.reason}): blobs are verified whole, and no peer is blamed for a bad chunk",
        "Install OpenSSL's libcrypto (Debian: libssl3)",
    )


def check_state(settings: NodeSettings) -> Iterator[Finding]:
    """Whether the state directory can be written, and how much room is left."""
    state = Path(settings.state)
    nearest = next(path for path in (state, *state.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(
            Verdict.BAD,
            "state",
            f"{state} can't be written by this user",
            "Choose another with --state, or chown it",
        )
        return
    yield Finding(Verdict.GOOD, "state", f"{state} {'is' if state.exists() else 'can be made'} writable")
    usage = shutil.disk_usage(nearest)
    share = usage.free / usage.total if usage.total else 0.0
    told = f"{format_size(usage.free)} of {format_size(usage.total)} are free"
    if share <= settings.store.minimum_free:
        yield Finding(
            Verdict.BAD,
            "disk",
            f"{told}, and {settings.store.minimum_free:.0%} must stay free",
            "Make room, or lower store.minimum_free",
        )
    else:
        yield Finding(Verdict.GOOD, "disk", told)


def node_runs(settings: NodeSettings) -> bool:
    """Whether a node answers on the admin socket of this state directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        try:
            client.connect(str(Path(settings.state) / "admin.sock"))
        except OSError:
            return False
    return True


def check_ports(settings: NodeSettings) -> Iterator[Finding]:
    """Whether the listening addresses are free, or held by our own node."""
    running = node_runs(settings)
    if running:
        yield Finding(Verdict.GOOD, "node", f"one is running with {settings.state}")
    for setting, address in (
        ("registry.listen", settings.registry.listen),
        ("peer.listen", settings.peer.listen),
        ("metrics.listen", settings.metrics.listen),
    ):
        host, port = split_address(address, setting)
        reason = _can_listen(host, port)
        if reason is None:
            yield Finding(Verdict.GOOD, setting, f"{address} is free")
        elif reason == errno.EADDRINUSE and running:
            yield Finding(Verdict.GOOD, setting, f"{address} is held, by the running node it seems")
        else:
            mend = "Stop what holds it, or choose another" if reason == errno.EADDRINUSE else "Choose another"
            yield Finding(Verdict.BAD, setting, f"{address}: {os.strerror(reason)}", f"{mend} for {setting}")


def _can_listen(host: str, port: int) -> int | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return error.errno if isinstance(error.errno, int) and error.errno > 0 else errno.EADDRNOTAVAIL
    return None


def check_private(settings: NodeSettings) -> Finding | None:
    """Who gets what only this node's credentials can read; None where there can be none."""
    from p2p.origin.factory import open_origins

    if not open_origins({**WELL_KNOWN, **settings.upstreams}).may_hold_credentials():
        return None
    ways = ["clients with credentials that the upstream accepts"]
    if settings.auth.rules:
        ways = ["clients that a rule names, or whose upstream it names"]
    if settings.private.shared:
        ways.append(f"every client for {', '.join(settings.private.shared)}")
    return Finding(
        Verdict.GOOD,
        "private content",
        f"goes to {', and to '.join(ways)}; never to peers",
    )


def check_descriptors(limit: int | None = None) -> Finding:
    """Whether enough files can be open at once."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        return Finding(
            Verdict.NOTE,
            "open files",
            f"at most {soft}",
            f"Raise it: ulimit -n {DESCRIPTORS}, or LimitNOFILE=",
        )
    return Finding(
        Verdict.GOOD, "open files", "unlimited" if soft == resource.RLIM_INFINITY else f"at most {soft}"
    )


def check_clock(now: datetime | None = None) -> Finding:
    """Whether the clock is set at all (certificates and tokens depend on it)."""
    now = now or datetime.now(UTC)
    if now < _EARLIEST:
        return Finding(Verdict.BAD, "clock", f"it is at {now:%Y-%m-%d}", "Set it, and run NTP")
    return Finding(Verdict.GOOD, "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def check_docker(settings: NodeSettings, file: Path = Path("/etc/docker/daemon.json")) -> Finding | None:
    """Whether dockerd knows the node as a mirror; None without Docker."""
    if not file.parent.is_dir() and shutil.which("dockerd") is None:
        return None
    want = f"http://{settings.registry.listen}"
    mend = f'Put {{"registry-mirrors": ["{want}"]}} into {file} and restart docker'
    try:
        mirrors = json.loads(file.read_text()).get("registry-mirrors", []) if file.exists() else []
    except (OSError, ValueError, AttributeError) as error:
        return Finding(Verdict.NOTE, "docker", f"{file} can't be read: {error}", "Mend that file")
    if any(str(mirror).rstrip("/").endswith(f":{want.rpartition(':')[2]}") for mirror in mirrors):
        return Finding(Verdict.GOOD, "docker", f"{file} names the node as a mirror")
    return Finding(Verdict.NOTE, "docker", "pulls of Docker Hub images do not go through the node", mend)


def check_containerd(settings: NodeSettings, certs: Path = Path("/etc/containerd/certs.d")) -> Finding | None:
    """Whether containerd knows the node for some registry; None without containerd."""
    if not certs.parent.is_dir() and shutil.which("containerd") is None:
        return None
    found = _mentions(sorted(certs.glob("*/hosts.toml")), settings)
    if found:
        return Finding(
            Verdict.GOOD, "containerd", f"goes through the node for {', '.join(p.parent.name for p in found)}"
        )
    return Finding(
        Verdict.NOTE,
        "containerd",
        "no hosts.toml names the node",
        f'Put [host."http://{settings.registry.listen}"] into {certs}/docker.io/hosts.toml',
    )


def check_podman(settings: NodeSettings, folder: Path = Path("/etc/containers")) -> Finding | None:
    """Whether podman knows the node as a mirror; None without podman."""
    if not folder.is_dir() and shutil.which("podman") is None:
        return None
    files = [folder / "registries.conf", *sorted((folder / "registries.conf.d").glob("*.conf"))]
    found = _mentions(files, settings)
    if found:
        return Finding(Verdict.GOOD, "podman", f"{found[0]} names the node")
    return Finding(
        Verdict.NOTE,
        "podman",
        "no registries.conf names the node",
        f'Add [[registry.mirror]] location = "{settings.registry.listen}/docker.io", insecure = true',
    )


def _mentions(files: list[Path], settings: NodeSettings) -> list[Path]:
    _, port = split_address(settings.registry.listen, "registry.listen")
    names = (settings.registry.listen, f"localhost:{port}", f"127.0.0.1:{port}")
    found = []
    for file in files:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        if any(name in line for line in lines for name in names):
            found.append(file)
    return found
