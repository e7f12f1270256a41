"""Basic credentials (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

MAX_CREDENTIALS: Final = 4096
"""Characters of a Basic header; longer ones are not looked at."""


def parse_basic(authorization: str) -> tuple[str, bytes] | None:
    """Read the user and password of a Basic header; None for anything else, or longer than is sane."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or len(authorization) > MAX_CREDENTIALS:
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode("utf-8"), password) if colon else None
    except (binascii.Error, ValueError):
        return None
