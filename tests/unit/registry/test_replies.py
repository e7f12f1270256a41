from __future__ import annotations

import json

import pytest

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.reference import Repository
from p2p.errors import (
    LocalError,
    OriginDeniedError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
    PeerError,
    RemoraError,
    StoreCorruptError,
    StoreFullError,
    TrackerError,
    VerificationError,
)
from p2p.net.message import Content
from p2p.registry.replies import (
    as_registry_error,
    content_headers,
    error_response,
    json_response,
    next_link,
    not_modified,
)
from p2p.registry.upstreams import Choice
from tests.support.registry_rig import request

DIGEST = Digest.of(b"")
CHOICE = Choice(Repository("ghcr.io", "org/app"), "org/app", "ghcr.io")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OriginNotFoundError("a", "b"), 404, "BLOB_UNKNOWN"),
        (OriginDeniedError("a", "b"), 403, "DENIED"),
        (OriginLimitedError("a", "b", retry_after=1), 503, "UNAVAILABLE"),
        (OriginUnreachableError("a", "b"), 502, "UNAVAILABLE"),
        (OriginStatusError("a", "b", status=500), 502, "UNAVAILABLE"),
        (OriginStatusError("a", "b", status=401), 502, "UNAVAILABLE"),
        (OriginProtocolError("a", "b"), 502, "UNAVAILABLE"),
        (PeerError("a", "b"), 502, "UNAVAILABLE"),
        (TrackerError("a", "b"), 502, "UNAVAILABLE"),
        (VerificationError("a", "b"), 502, "UNAVAILABLE"),
        (StoreFullError("a", "b"), 507, "UNAVAILABLE"),
        (StoreCorruptError("a", "b"), 500, "UNKNOWN"),
        (LocalError("a", "b"), 500, "UNKNOWN"),
        (RemoraError("a", "b"), 500, "UNKNOWN"),
        (RegistryError("TAG_INVALID", "x"), 400, "TAG_INVALID"),
    ],
)
def test_every_error_has_its_status(error: RemoraError, status: int, code: str) -> None:
    answer = as_registry_error(error, "BLOB_UNKNOWN")
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(("after", "said"), [(0.0, b"1"), (0.2, b"1"), (59.5, b"60")])
def test_retry_after_is_whole_seconds_and_never_at_once(after: float, said: bytes) -> None:
    response = error_response(OriginLimitedError("a", "b", retry_after=after), "NAME_UNKNOWN")
    assert (b"Retry-After", said) in response.headers


def test_405_says_what_is_allowed() -> None:
    error = RegistryError("UNSUPPORTED", "no", {"allowed": ["GET", "HEAD"]})
    assert (b"Allow", b"GET, HEAD") in error_response(error, "NAME_UNKNOWN").headers


def test_bodies_are_json() -> None:
    body = error_response(OriginDeniedError("a", "b", "c"), "NAME_UNKNOWN").body
    assert isinstance(body, Content)
    assert json.loads(body.data) == {"errors": [{"code": "DENIED", "message": "a: b. c"}]}
    body = json_response(200, {"ü": 1}).body
    assert isinstance(body, Content)
    assert body.data.isascii()


def test_content_headers() -> None:
    headers = dict(content_headers(CHOICE, DIGEST))
    assert headers[b"Docker-Content-Digest"] == str(DIGEST).encode()
    assert headers[b"OCI-Namespace"] == b"ghcr.io"
    assert b"OCI-Namespace" not in dict(content_headers(Choice(CHOICE.repository, "x"), DIGEST))


def test_next_link_leads_back_here_and_escapes() -> None:
    _, value = next_link(CHOICE, "tags/list", n=5, last='a">&n=1')
    assert value == b'</v2/org/app/tags/list?n=5&last=a%22%3E%26n%3D1&ns=ghcr.io>; rel="next"'


@pytest.mark.parametrize("value", ["", '"', ",,,", '"sha256:', "\xff" * 10])
def test_odd_conditions_do_not_match(value: str) -> None:
    assert not_modified(request("GET", "/", if_none_match=value), CHOICE, DIGEST) is None
