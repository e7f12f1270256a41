"""Runs the suite of uploads over SQLite; its tests assert."""

from __future__ import annotations

from tests.support.hosting_suite import UploadSuite


class TestUpload(UploadSuite):
    """In a file, with hot answers in memory."""
