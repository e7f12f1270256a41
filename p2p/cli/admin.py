"""Ask a running node over the Unix socket in its state directory."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2p.core.oci.error import told
from p2p.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import httpx


def socket_path(state: str) -> Path:
    """Where the node that keeps its state there listens."""
    return Path(state) / "admin.sock"


def ask(state: str, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
    """GET ``path`` from the node with this state directory; the answer is a JSON object.

    Raises LocalError if no node runs there, RemoteError if it refuses.
    """
    with _client(state) as client:
        response = client.get(path, params=dict(params or {}))
    return read_answer(response, f"node at {state}")


def follow(state: str, path: str, params: Sequence[tuple[str, str]] = ()) -> Generator[dict[str, Any]]:
    """POST to the node with this state directory, and give each line of its answer as it comes.

    The last one has a ``summary``. Leaving the iterator ends the work. Raises as ``ask``; RemoteError also
    where the node fails on the way or stops.
    """
    subject = f"node at {state}"
    with _client(state) as client, client.stream("POST", path, params=list(params)) as response:
        if response.status_code != 200:
            response.read()
            read_answer(response, subject)
        for text in response.iter_lines():
            if not text:
                continue
            line: dict[str, Any] = json.loads(text)
            if "error" in line:
                raise RemoteError(subject, line["error"])
            yield line
            if "summary" in line:
                return
    raise RemoteError(subject, "it stopped before the end", "See its log, and try again")


@contextmanager
def _client(state: str) -> Iterator[httpx.Client]:
    import httpx

    path = socket_path(state)
    _knock(path, state)
    transport = httpx.HTTPTransport(uds=str(path))
    try:
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=10.0) as client:
            yield client
    except httpx.HTTPError as error:
        words = str(error) or type(error).__name__
        raise LocalError(f"node at {state}", f"it does not answer: {words}", "See its log") from error


def _knock(path: Path, state: str) -> None:
    # httpx tells neither a missing node from a forbidden one, nor closes the socket that did not connect.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5.0)
        try:
            client.connect(str(path))
        except PermissionError as error:
            raise LocalError(f"admin socket {path}", "permission denied", "Run as the node's user") from error
        except OSError as error:
            raise LocalError(
                f"node at {state}",
                "no node is running there",
                "Start one with: remora node. Or name its state directory with --state",
            ) from error


def read_answer(response: Any, subject: str) -> dict[str, Any]:
    """Take the JSON object out of an answer; RemoteError with the node's own words otherwise."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code != 200 or not isinstance(body, dict):
        raise RemoteError(subject, told(body) or f"it answers with status {response.status_code}")
    return body
