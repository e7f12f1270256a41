"""The metrics port: ``/metrics``, ``/healthz`` and ``/readyz``.

``/healthz`` says that the loop turns: restart the node where it does not answer. ``/readyz`` says that
the node can serve: send no clients where it is 503, and read which check failed and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from p2p.errors import RemoraError
from p2p.net.message import Content, Response
from p2p.node.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from p2p.net.message import Handler, Request

Check = Callable[[], str | None]
"""None where all is well, else what is wrong, in a sentence. Does not block."""

_TEXT: Final = "text/plain; charset=utf-8"


def health_handler(render: Callable[[], bytes], checks: Mapping[str, Check]) -> Handler:
    """Make the handler. ``render`` gives the metrics, ``checks`` by name decide about readiness."""

    async def handle(request: Request) -> Response:
        if request.path not in ("/metrics", "/healthz", "/readyz"):
            return _answer(404, _TEXT, b"Here are /metrics, /healthz and /readyz.\n")
        if request.method not in ("GET", "HEAD"):
            return _answer(405, _TEXT, b"Only GET and HEAD.\n", (b"allow", b"GET, HEAD"))
        match request.path:
            case "/metrics":
                return _answer(200, CONTENT_TYPE, render())
            case "/healthz":
                return _answer(200, _TEXT, b"ok\n")
            case _:
                return _readiness(checks)

    return handle


def _readiness(checks: Mapping[str, Check]) -> Response:
    failures = {name: reason for name, check in checks.items() if (reason := _run(check)) is not None}
    document = {
        "ready": not failures,
        "checks": {
            name: {"ok": False, "reason": failures[name]} if name in failures else {"ok": True}
            for name in checks
        },
    }
    body = json.dumps(document, indent=2).encode("ascii") + b"\n"
    return _answer(503 if failures else 200, "application/json", body)


def _run(check: Check) -> str | None:
    try:
        return check()
    except RemoraError as error:
        return str(error)


def _answer(status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes]) -> Response:
    fixed = ((b"content-type", content_type.encode("ascii")), (b"cache-control", b"no-store"))
    return Response(status, (*fixed, *headers), Content(body))
