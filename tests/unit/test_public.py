"""What ``import p2p`` gives: cheap, complete, and typed as it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import p2p


@pytest.mark.parametrize("name", p2p.__all__)
def test_every_public_name_is_there_and_in_the_stub(name: str) -> None:
    assert getattr(p2p, name) is not None
    assert name in dir(p2p)
    stub = Path(p2p.__file__).with_suffix(".pyi").read_text()
    assert re.search(rf"\b{name}( as {name}|: str)", stub), f"the stub lacks {name}"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        p2p.Klient  # noqa: B018


def test_the_import_is_cheap() -> None:
    code = "import sys, p2p; print([m for m in sys.modules if m.split('.')[0] in ('trio','httpx','msgspec')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
