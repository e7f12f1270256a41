"""Ask a running node over the Unix socket in its state directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2p.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping


def socket_path(state: str) -> Path:
    """Where the node that keeps its state there listens."""
    return Path(state) / "admin.sock"


def ask(state: str, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
    """GET ``path`` from the node with this state directory; the answer is a JSON object.

    Raises LocalError if no node runs there, RemoteError if it refuses.
    """
    import httpx

    socket = socket_path(state)
    missing = LocalError(
        f"node at {state}", "no node is running there", "Start one with: remora node. Or give its --state"
    )
    try:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://localhost", timeout=10.0
        ) as client:
            response = client.get(path, params=dict(params or {}))
    except httpx.ConnectError as error:
        if socket.exists() and "Permission" in str(error):
            raise LocalError(
                f"admin socket {socket}", "permission denied", "Run as the node's user"
            ) from error
        raise missing from error
    except httpx.HTTPError as error:
        raise LocalError(
            f"node at {state}", f"it does not answer: {str(error) or type(error).__name__}", "See its log"
        ) from error
    return read_answer(response, f"node at {state}")


def read_answer(response: Any, subject: str) -> dict[str, Any]:
    """Take the JSON object out of an answer; RemoteError with the node's own words otherwise."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code != 200 or not isinstance(body, dict):
        told = body.get("error") if isinstance(body, dict) else None
        raise RemoteError(subject, str(told or f"it answers with status {response.status_code}"))
    return body
