"""Every module has its test file, in the folder under tests/unit or tests/shell that mirrors its own."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"p2p": Path(), "tracker": Path("tracker")}
LONGEST = 400


def modules() -> list[Path]:
    return sorted(
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    )


def places(module: Path) -> list[Path]:
    folder = PACKAGES[module.parts[0]].joinpath(*module.parts[1:-1])
    return [Path("tests", kind, folder, f"test_{module.name}") for kind in ("unit", "shell")]


@pytest.mark.parametrize("module", modules(), ids=str)
def test_each_module_has_its_test_file(module: Path) -> None:
    assert any((ROOT / place).is_file() for place in places(module)), (
        f"{module} has no test: write {places(module)[0]} (pure) or {places(module)[1]} (I/O)"
    )


@pytest.mark.parametrize("module", modules(), ids=str)
def test_no_module_is_too_long(module: Path) -> None:
    assert len((ROOT / module).read_text().splitlines()) <= LONGEST, f"{module} does too much: split it"


def test_the_mirror_of_the_tree() -> None:
    assert places(Path("p2p/core/oci/digest.py"))[0] == Path("tests/unit/core/oci/test_digest.py")
    assert places(Path("tracker/plan.py"))[0] == Path("tests/unit/tracker/test_plan.py")
    assert places(Path("p2p/errors.py"))[1] == Path("tests/shell/test_errors.py")
