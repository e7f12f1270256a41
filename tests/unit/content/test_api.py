"""Values of shared content."""

from datetime import UTC, datetime

from p2p.content.api import ContentContext, ContentObject


def test_an_object_is_a_value() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert ContentObject("a", 1, when) == ContentObject("a", 1, when)


def test_options_may_be_none() -> None:
    assert ContentContext("file:///x").options == ()
