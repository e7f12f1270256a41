"""Runs the suite of garbage over SQLite; its tests assert."""

from __future__ import annotations

from tests.support.hosting_suite import GarbageSuite


class TestGarbage(GarbageSuite):
    """In a file, with hot answers in memory."""
