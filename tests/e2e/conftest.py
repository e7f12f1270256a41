"""What the end-to-end tests share: one origin with its images, directories that vanish, logs on failure."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import clients, processes
from tests.support.images import GIB, MIB, Image, OciLayout, small_layers
from tests.support.nodes import Node, Tracker
from tests.support.registry_origin import DockerRegistry

UPSTREAM = "origin.test"
"""The upstream's name at every node; no resolver knows it, so no client can get around the node."""

SMALL_LAYERS = 60


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images at the origin, by tag, in the repositories ``app`` and ``library/app``."""

    layout: OciLayout
    images: dict[str, Image]

    def __getitem__(self, tag: str) -> Image:
        return self.images[tag]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--direct``."""
    parser.addoption(
        "--direct",
        action="store_true",
        help="point the clients straight at docker-registry: proves the harness, not the node",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all, and give each the time that a GiB takes on a small machine."""
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(240))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every process's output when a test fails."""
    report = yield
    if report.failed:
        for process in processes.STARTED:
            # Those of earlier tests are gone with their directory.
            if process.out.exists() and not isinstance(process, DockerRegistry):
                report.sections.append((f"the end of {process.name}", process.tail(15)))
    return report


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """A directory of this session; it vanishes, whatever happens."""
    directory = Path(tempfile.mkdtemp(prefix="remora-e2e-"))
    try:
        yield directory
    finally:
        processes.kill_all()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def directory(session_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory of this test."""
    path = Path(tempfile.mkdtemp(prefix="t-", dir=session_directory))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _all_installed() -> None:
    clients.require_all()


@pytest.fixture(autouse=True)
def _no_traceback() -> Iterator[None]:
    """No node and no tracker may ever print a traceback."""
    yield
    for process in processes.STARTED:
        if isinstance(process, Node | Tracker) and process.out.exists():
            said = process.out.read_text(errors="replace") + process.errors()
            assert "Traceback" not in said, f"{process.name} printed a traceback\n{process.tail()}"


@pytest.fixture(scope="session")
def gallery(session_directory: Path) -> Gallery:
    """Make the images: single- and multi-arch, an empty layer, 256 MiB, 1 GiB, 60 small layers."""
    layout = OciLayout(session_directory / "gallery")
    amd64 = layout.image(small_layers(layout, 3, 2_000_000, seed=1000), tag="single")
    arm64 = layout.image(
        [layout.empty_layer(), *small_layers(layout, 2, 300_000, seed=2000)], architecture="arm64"
    )
    other = layout.image(small_layers(layout, 2, 500_000, seed=3000))
    empty = layout.image([layout.empty_layer(), *small_layers(layout, 1, 50_000, seed=4000)], tag="empty")
    many = layout.image(small_layers(layout, SMALL_LAYERS, 100_000, seed=5000), tag="many")
    big = layout.image([layout.layer("big", GIB, seed=6000)], tag="big")
    medium = layout.image([layout.layer("medium", 256 * MIB, seed=7000)], tag="medium")
    multi = layout.index({"amd64": other, "arm64": arm64}, tag="multi")
    images = {"single": amd64, "multi": multi, "empty": empty, "many": many, "medium": medium, "big": big}
    return Gallery(layout, images)


@pytest.fixture(scope="session")
def origin(session_directory: Path, gallery: Gallery) -> Iterator[DockerRegistry]:
    """A docker-registry that has all images.

    ``library/app`` is what dockerd's mirrors are asked for, ``origin.test/app`` what ``--direct`` needs.
    """
    with DockerRegistry(session_directory) as registry:
        for repository in ("app", "library/app", f"{UPSTREAM}/app"):
            for tag, image in gallery.images.items():
                registry.push(repository, image, tag)
            target = f"{registry.address}/{repository}:docker"
            clients.skopeo_push_docker(gallery.layout.root, "single", target)
        yield registry
