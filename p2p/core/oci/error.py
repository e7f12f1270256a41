"""Errors of the /v2/ API as values: a code and a status, and the body that the spec asks for.

Codes and statuses: OCI distribution-spec, "Error Codes". The spec has no code for a range, for a page
size, or for an upstream that fails; for these we use the ones that the reference implementation
(distribution v3) answers with, which clients know. TAG_INVALID and PLATFORM_INVALID are for commands:
the route parser turns a tag that can't exist into the spec's MANIFEST_UNKNOWN or MANIFEST_INVALID.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from p2p.errors import RemoraError

STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "BLOB_UNKNOWN": 404,
        "BLOB_UPLOAD_INVALID": 400,
        "BLOB_UPLOAD_UNKNOWN": 404,
        "DIGEST_INVALID": 400,
        "MANIFEST_BLOB_UNKNOWN": 404,
        "MANIFEST_INVALID": 400,
        "MANIFEST_UNKNOWN": 404,
        "NAME_INVALID": 400,
        "NAME_UNKNOWN": 404,
        "SIZE_INVALID": 400,
        "UNAUTHORIZED": 401,
        "DENIED": 403,
        "UNSUPPORTED": 405,
        "TOOMANYREQUESTS": 429,
        "TAG_INVALID": 400,
        "PLATFORM_INVALID": 400,
        "RANGE_INVALID": 416,
        "PAGINATION_NUMBER_INVALID": 400,
        "UNAVAILABLE": 503,
        "UNKNOWN": 500,
    }
)
"""Code → the status it is answered with where the raiser names no other."""

BODY_TYPE: Final = "application/json"
"""Content-Type of ``RegistryError.body()``."""

_TYPED: Final = frozenset({"NAME_INVALID", "TAG_INVALID", "DIGEST_INVALID", "PLATFORM_INVALID"})
_SHOWN = 96


def shown(text: str) -> str:
    """Quote text from outside for a message: ASCII only, escaped, and of bounded length."""
    if len(text) <= _SHOWN:
        return ascii(text)
    return f"{text[:_SHOWN]!a}… ({len(text)} characters)"


def told(body: object) -> str:
    """Take the message out of ``{"errors": [{"code", "message"}]}``, "" where there is none."""
    match body:
        case {"errors": [{"message": str(message)}, *_]}:
            return message
    return ""


class RegistryError(RemoraError):
    """An answer of the /v2/ API that is not a success.

    ``code`` is one of the spec's, ``status`` the HTTP status (the code's own unless given), ``detail``
    anything that JSON can hold. ``UNAVAILABLE`` with status 502, 503 or 504 is for an upstream that
    fails. A malformed name, tag, digest or platform ends a command with 2, all others with 1.
    """

    def __init__(
        self, code: str, message: str, detail: object = None, *, status: int | None = None, mend: str = ""
    ) -> None:
        super().__init__(code, message, mend)
        self.code = code
        self.message = message
        self.detail = detail
        self.status = STATUS.get(code, 500) if status is None else status
        self.exit_code = 2 if code in _TYPED else 1

    @classmethod
    def digest_invalid(cls, text: str, cause: str) -> RegistryError:
        """Refuse a digest."""
        return cls(
            "DIGEST_INVALID",
            f"digest {shown(text)} {cause}",
            mend="Give sha256: and 64, or sha512: and 128 lower-case hex digits",
        )

    @classmethod
    def name_invalid(cls, text: str, cause: str) -> RegistryError:
        """Refuse a repository name or a registry's."""
        return cls("NAME_INVALID", f"name {shown(text)} {cause}")

    @classmethod
    def tag_invalid(cls, text: str, cause: str) -> RegistryError:
        """Refuse a tag."""
        return cls(
            "TAG_INVALID",
            f"tag {shown(text)} {cause}",
            mend="Tags are up to 128 of A-Z a-z 0-9 _ . - and begin with a letter, a digit or _",
        )

    @classmethod
    def manifest_invalid(cls, cause: str, detail: object = None) -> RegistryError:
        """Refuse a manifest, an index, or a part of one."""
        return cls("MANIFEST_INVALID", f"the manifest {cause}", detail)

    def body(self) -> bytes:
        """Render ``{"errors":[{"code","message","detail"}]}``; a detail that JSON can't hold as text."""
        entry: dict[str, object] = {
            "code": self.code,
            "message": self.message + (f". {self.mend}" if self.mend else ""),
        }
        if self.detail is not None:
            entry["detail"] = self.detail
        return json.dumps({"errors": [entry]}, separators=(",", ":"), default=str).encode("ascii")
