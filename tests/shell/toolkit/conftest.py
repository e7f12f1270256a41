from pathlib import Path

import pytest

from tests.support.dict_registry import Open, Registry, opened
from tests.support.toolkit_rig import Made, make


@pytest.fixture
def open_server() -> Open:
    """Give an async context manager that serves a handler and yields its base URL."""
    return opened


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Give an image of two platforms and its signature, in a layout."""
    return make(tmp_path / "made")
