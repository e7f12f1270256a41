import socket
import ssl

import httpx
import pytest

from p2p.errors import (
    OriginDeniedError,
    OriginLimitedError,
    OriginNotFoundError,
    OriginProtocolError,
    OriginStatusError,
    OriginUnreachableError,
)
from p2p.origin.failures import DEFAULT_RETRY_AFTER, passing, status_failure, transport_failure

URL = "https://reg.example/v2/?sig=secret"


def failure(kind: type[httpx.TransportError], text: str = "x", cause: BaseException | None = None):
    error = kind(text)
    error.__cause__ = cause
    return transport_failure("up", URL, error)


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "verify failed")
    error.verify_message = "unable to get local issuer certificate"
    return error


def wrong_version() -> ssl.SSLError:
    error = ssl.SSLError(1, "wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("kind", "cause", "words"),
    [
        (httpx.ConnectError, ConnectionRefusedError(111, "Connection refused"), ["refuses", "Check that"]),
        (httpx.ConnectError, socket.gaierror(-2, "Name or service not known"), ["reg.example", "DNS"]),
        (httpx.ConnectError, certificate_error(), ["local issuer", "upstreams.up.ca_file"]),
        (httpx.ConnectError, wrong_version(), ["does not speak TLS", "http://"]),
        (httpx.ConnectError, ssl.SSLError(1, "handshake failure"), ["TLS"]),
        (httpx.ConnectError, OSError(113, "No route to host"), ["No route to host"]),
        (httpx.ConnectTimeout, None, ["no connection to reg.example:443"]),
        (httpx.ReadTimeout, None, ["silent"]),
        (httpx.PoolTimeout, None, ["in use"]),
        (httpx.ReadError, None, ["connection to reg.example:443 failed"]),
    ],
)
def test_unreachable_names_host_cause_and_mend(kind, cause, words):
    error = failure(kind, "x", cause)
    assert isinstance(error, OriginUnreachableError)
    assert error.subject == "up"
    assert error.mend
    for word in words:
        assert word in str(error)
    assert "secret" not in str(error)


def test_a_cut_body_is_unreachable_and_broken_http_is_not():
    cut = "peer closed connection without sending complete message body (received 1 bytes, expected 2)"
    assert isinstance(failure(httpx.RemoteProtocolError, cut), OriginUnreachableError)
    assert isinstance(failure(httpx.RemoteProtocolError, "illegal status line"), OriginProtocolError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, OriginNotFoundError),
        (410, OriginNotFoundError),
        (401, OriginDeniedError),
        (403, OriginDeniedError),
        (429, OriginLimitedError),
        (500, OriginStatusError),
        (204, OriginStatusError),
    ],
)
def test_statuses(status, kind):
    error = status_failure("up", status, "GET /v2/a", "reason", None)
    assert type(error) is kind
    assert error.subject == "up"
    if isinstance(error, OriginStatusError):
        assert error.status == status


def test_retry_after_is_told():
    limited = status_failure("up", 429, "GET /", "", 33.0)
    assert isinstance(limited, OriginLimitedError)
    assert limited.retry_after == 33.0
    unsaid = status_failure("up", 429, "GET /", "", None)
    assert isinstance(unsaid, OriginLimitedError)
    assert unsaid.retry_after == DEFAULT_RETRY_AFTER


def test_what_may_be_repeated():
    lost = OriginUnreachableError("up", "lost")
    lost.__cause__ = httpx.ConnectError("x")
    assert passing(lost)
    assert passing(OriginStatusError("up", "x", status=503))
    silent = OriginUnreachableError("up", "silent")
    silent.__cause__ = httpx.ReadTimeout("x")
    assert not passing(silent)
    assert not passing(OriginStatusError("up", "x", status=418))
    assert not passing(OriginNotFoundError("up", "x"))
    assert not passing(ValueError())


@pytest.mark.parametrize(
    ("status", "what", "words"),
    [
        (403, "GET /v2/a/manifests/1", "may not read this"),
        (403, "PUT /v2/a/manifests/1", "may not write to this"),
        (405, "POST /v2/a/blobs/uploads/", "takes no pushes"),
        (413, "PUT /v2/a/manifests/1", "raise the limit"),
    ],
)
def test_refusals_of_pushes(status: int, what: str, words: str):
    assert words in status_failure("up", status, what, "", None).mend
