"""Entry points are read from distributions that a test writes to a directory on sys.path."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from p2p import extensions
from p2p.errors import ConfigError

ROOT = Path(__file__).parents[2]
GROUP = extensions.SINKS


def install(folder: Path, name: str, points: str, module: str = "") -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")
    (folder / f"{name}_module.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_another_distribution_brings_is_found(site: Path) -> None:
    install(site, "brought", "pigeon = brought_module:open_pigeon", "def open_pigeon(): return 'coo'")
    assert "pigeon" in extensions.names(GROUP)
    loaded = extensions.load(GROUP, "pigeon")
    assert callable(loaded)
    assert loaded() == "coo"


def test_an_unknown_name_lists_the_known_ones(site: Path) -> None:
    install(site, "listed", "pigeon = listed_module:open")
    with pytest.raises(ConfigError, match=r"remora.sinks owl: nothing of this name.*pigeon"):
        extensions.load(GROUP, "owl")


@pytest.mark.parametrize(
    ("point", "module", "told"),
    [
        ("owl = no_such_module_anywhere:open", "", "ModuleNotFoundError"),
        ("owl = broken_module:missing", "", "AttributeError"),
        ("owl = broken_module:open", "raise RuntimeError('not today')", "RuntimeError: not today"),
    ],
)
def test_what_cannot_be_imported_names_its_distribution(
    site: Path, point: str, module: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    install(site, "broken", point, module)
    with pytest.raises(ConfigError, match=rf"owl: \w+:\w+ of broken can't be loaded: {told}"):
        extensions.load(GROUP, "owl")


def test_two_distributions_with_one_name(site: Path) -> None:
    install(site, "first", "owl = first_module:open")
    install(site, "second", "owl = second_module:open")
    with pytest.raises(ConfigError, match="several distributions bring it: first, second"):
        extensions.load(GROUP, "owl")


def test_an_entry_point_of_nobody() -> None:
    assert extensions.distribution(EntryPoint("a", "b:c", GROUP)) == "an unknown distribution"


def test_what_we_declare_ourselves_can_be_loaded() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    ours = {name: points for name, points in declared.items() if name != "remora.commands"}
    assert {extensions.SINKS, extensions.EXTENSIONS} <= set(ours)
    for points in ours.values():
        for value in points.values():
            module, _, attribute = value.partition(":")
            assert callable(getattr(import_module(module), attribute))
