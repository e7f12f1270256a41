"""Runs the suite of places over SQLite; its tests assert."""

from __future__ import annotations

from tests.support.hosting_suite import PlaceSuite


class TestPlaces(PlaceSuite):
    """In a file, with hot answers in memory."""
