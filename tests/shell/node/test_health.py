"""The metrics port's three answers."""

from __future__ import annotations

import json

import pytest

from p2p.errors import StoreUnhealthyError
from p2p.net.message import Content, Handler, Request, Response
from p2p.node.health import health_handler


class NoBody:
    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    def __aiter__(self) -> NoBody:
        return self

    async def read(self, limit: int) -> bytes:
        return b""


async def ask(handler: Handler, path: str, method: str = "GET") -> tuple[Response, bytes]:
    response = await handler(Request(method, path, "", (), NoBody()))
    assert isinstance(response.body, Content)
    return response, response.body.data


def failing() -> str | None:
    return "the disk failed"


def raising() -> str | None:
    raise StoreUnhealthyError("store", "an fsync failed", "Replace the disk")


async def test_health_and_metrics() -> None:
    handler = health_handler(lambda: b"remora_x 1\n", {"store": failing})
    response, data = await ask(handler, "/healthz")
    assert (response.status, data) == (200, b"ok\n")
    response, data = await ask(handler, "/metrics", "HEAD")
    assert (response.status, data) == (200, b"remora_x 1\n")
    assert dict(response.headers)[b"content-type"].startswith(b"text/plain; version=")


async def test_ready() -> None:
    handler = health_handler(bytes, {"store": lambda: None, "registry": lambda: None})
    response, data = await ask(handler, "/readyz")
    assert response.status == 200
    assert json.loads(data) == {"ready": True, "checks": {"store": {"ok": True}, "registry": {"ok": True}}}


async def test_not_ready_says_why() -> None:
    handler = health_handler(bytes, {"a": lambda: None, "b": failing, "c": raising})
    response, data = await ask(handler, "/readyz")
    assert response.status == 503
    assert json.loads(data) == {
        "ready": False,
        "checks": {
            "a": {"ok": True},
            "b": {"ok": False, "reason": "the disk failed"},
            "c": {"ok": False, "reason": "store: an fsync failed. Replace the disk"},
        },
    }


async def test_nothing_is_cached() -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        response, _ = await ask(health_handler(bytes, {}), path)
        assert dict(response.headers)[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/v2/", "//metrics"])
async def test_other_paths_name_the_right_ones(path: str) -> None:
    response, data = await ask(health_handler(bytes, {}), path)
    assert response.status == 404
    assert b"/readyz" in data


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_only_reading(path: str) -> None:
    response, _ = await ask(health_handler(bytes, {}), path, "POST")
    assert response.status == 405
    assert dict(response.headers)[b"allow"] == b"GET, HEAD"
