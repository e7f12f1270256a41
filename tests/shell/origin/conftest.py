from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import stamina
import trustme

from p2p.config import UpstreamSettings
from p2p.origin.body import Tuning
from p2p.origin.client import RegistryOrigin


@pytest.fixture(autouse=True)
def _no_waiting_between_tries():
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def connect() -> Callable[..., object]:
    """Make a RegistryOrigin for a URL, with settings and tuning by name; no environment, short timeouts."""

    @asynccontextmanager
    async def make(
        url: str,
        *,
        tuning: Tuning | None = None,
        environment: dict[str, str] | None = None,
        **settings: object,
    ) -> AsyncGenerator[RegistryOrigin]:
        chosen = {"connect_timeout": 5.0, "read_timeout": 5.0, **settings}
        async with RegistryOrigin(
            "up",
            UpstreamSettings(url=url, **chosen),
            user_agent="remora-test",
            environment=environment or {},
            tuning=tuning,
        ) as origin:
            yield origin

    return make
