"""Errors render the spec's body and carry its status."""

from __future__ import annotations

import json

import pytest

from p2p.core.oci.error import STATUS, RegistryError, shown, told
from p2p.errors import RemoraError


@pytest.mark.parametrize(("code", "status"), sorted(STATUS.items()))
def test_every_code_has_its_status_and_body(code: str, status: int) -> None:
    error = RegistryError(code, "why")
    assert error.status == status
    assert 400 <= status <= 599
    assert json.loads(error.body()) == {"errors": [{"code": code, "message": "why"}]}


def test_status_and_detail_of_ones_own() -> None:
    error = RegistryError(
        "UNAVAILABLE", "ghcr.io timed out", {"upstream": "ghcr.io"}, status=504, mend="Wait"
    )
    assert error.status == 504
    assert json.loads(error.body())["errors"] == [
        {"code": "UNAVAILABLE", "message": "ghcr.io timed out. Wait", "detail": {"upstream": "ghcr.io"}}
    ]
    assert str(error) == "UNAVAILABLE: ghcr.io timed out. Wait"
    assert isinstance(error, RemoraError)


def test_an_unknown_code_is_a_500() -> None:
    assert RegistryError("SOMETHING", "odd").status == 500


def test_a_detail_that_json_cannot_hold_becomes_text() -> None:
    body = RegistryError("UNKNOWN", "odd", {"bytes": b"\xff", "lone": "\ud800"}).body()
    assert json.loads(body)["errors"][0]["detail"]["bytes"] == r"b'\xff'"
    assert body.isascii()


def test_exit_codes_tell_a_typing_mistake_from_a_fault() -> None:
    assert RegistryError.name_invalid("A", "is bad").exit_code == 2
    assert RegistryError.tag_invalid("-", "is bad").exit_code == 2
    assert RegistryError.digest_invalid("x", "is bad").exit_code == 2
    assert RegistryError.manifest_invalid("is bad").exit_code == 1
    assert RegistryError("MANIFEST_UNKNOWN", "gone").exit_code == 1


def test_what_is_shown_is_escaped_and_bounded() -> None:
    assert shown("a\n\x1b[31mé\0") == r"'a\n\x1b[31m\xe9\x00'"
    assert len(shown("\0" * 100_000)) < 500
    assert "100000 characters" in shown("x" * 100_000)


def test_told():
    assert told(json.loads(RegistryError("X", "words").body())) == "words"
    assert told({"errors": []}) == told(None) == told([1]) == ""
