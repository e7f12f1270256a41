from __future__ import annotations

import pytest

from p2p.errors import LocalError, RemoteError
from p2p.net import errors


def test_bodies() -> None:
    error = errors.BodyTooLargeError(10)
    assert isinstance(error, errors.BodyError)
    assert error.limit == 10
    assert "10 bytes" in str(error)


def test_refusals_have_a_status() -> None:
    assert errors.RefusedRequestError("it is odd").status == 400
    assert errors.RefusedRequestError("it is large", status=431).status == 431


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (errors.SlowClientError, errors.ClientGoneError),
        (errors.ClientGoneError, RemoteError),
        (errors.BodyLostError, errors.BodyError),
        (errors.BodyError, errors.ClientError),
        (errors.BrokenBodyError, LocalError),
        (errors.ImpossibleResponseError, LocalError),
    ],
)
def test_the_tree(kind: type[Exception], fault: type[Exception]) -> None:
    assert issubclass(kind, fault)
