from __future__ import annotations

import pytest

from p2p.config import SinkSettings
from p2p.errors import ConfigError
from p2p.notifications.api import Event, What
from p2p.notifications.interest import Interest
from tests.support.happenings import LAYER, happening, target


def test_an_empty_filter_lets_everything_pass() -> None:
    assert Interest.of("a", SinkSettings()).covers(happening(What.PULL, target=None))


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        (SinkSettings(actions=("push", "delete")), True),
        (SinkSettings(actions=("pull",)), False),
        (SinkSettings(repositories=("other", "team/*")), True),
        (SinkSettings(repositories=("*app",)), False),
        (SinkSettings(repositories=("*",)), False),
        (SinkSettings(repositories=("**/*app",)), True),
        (SinkSettings(repositories=("**",)), True),
        (SinkSettings(repositories=("team/ap?",)), True),
        (SinkSettings(repositories=("team.app",)), False),
        (SinkSettings(media_types=("*.manifest.v1+json",)), True),
        (SinkSettings(media_types=(LAYER,)), False),
        (SinkSettings(actions=("push",), repositories=("nothing",)), False),
    ],
)
def test_filters(settings: SinkSettings, passes: bool) -> None:
    assert Interest.of("a", settings).covers(happening()) is passes


def test_events_are_selected_in_order() -> None:
    interest = Interest.of("a", SinkSettings(media_types=(LAYER,)))
    events = [
        Event(number, str(number), happening(target=target(b"x", kind)))
        for number, kind in enumerate((LAYER, "text/plain", LAYER))
    ]
    assert interest.select(events) == [events[0], events[2]]


def test_an_unknown_action() -> None:
    with pytest.raises(ConfigError, match=r"sink hook: there is no action 'psuh'.*push, pull"):
        Interest.of("hook", SinkSettings(actions=("psuh",)))


@pytest.mark.parametrize("glob", ["TEAM/*", "**app", ""])
def test_what_is_no_glob(glob: str) -> None:
    with pytest.raises(ConfigError, match=r"sink hook: repository pattern.*Write"):
        Interest.of("hook", SinkSettings(repositories=(glob,)))
