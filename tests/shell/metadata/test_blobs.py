"""Runs the suite of hosted blobs over SQLite; its tests assert."""

from __future__ import annotations

from tests.support.hosting_suite import BlobSuite


class TestBlob(BlobSuite):
    """In a file, with hot answers in memory."""
