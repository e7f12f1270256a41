import dataclasses

import pytest

from p2p.core.swarm.chunks import LARGE
from p2p.core.swarm.settings import SwarmSettings


def test_defaults_are_those_of_the_design() -> None:
    settings = SwarmSettings()
    assert settings.peers == 30
    assert settings.grace == 30.0
    assert settings.links


def test_a_run_may_be_shorter_than_one_chunk_of_a_large_blob() -> None:
    """Then one chunk is asked at a time (see ``test_schedule``)."""
    assert SwarmSettings().run < LARGE


def test_they_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SwarmSettings().peers = 1  # type: ignore[misc]
    assert SwarmSettings() == SwarmSettings()
