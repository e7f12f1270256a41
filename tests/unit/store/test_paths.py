from __future__ import annotations

from pathlib import Path

import pytest

from p2p.core.oci.digest import Digest
from p2p.store.paths import JOURNAL, MIDSTATES, Paths, digest_of

DIGEST = Digest.of(b"x")
PATHS = Paths(Path("/s"))


def test_every_path_lies_under_the_root_and_names_the_digest() -> None:
    paths = [
        PATHS.blob(DIGEST),
        PATHS.blob(DIGEST, MIDSTATES),
        PATHS.partial(DIGEST),
        PATHS.partial(DIGEST, JOURNAL),
        PATHS.quarantine(DIGEST),
    ]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert path.is_relative_to("/s")
        assert path.parent.name == "sha256"
        assert path.name.startswith(DIGEST.hex)
    assert PATHS.lock == Path("/s/lock")


def test_names_are_read_back() -> None:
    assert digest_of("sha256", DIGEST.hex) == DIGEST
    assert digest_of("sha256", DIGEST.hex + JOURNAL, JOURNAL) == DIGEST


@pytest.mark.parametrize(
    ("algorithm", "name", "suffix"),
    [
        ("sha256", "..", ""),
        ("sha256", DIGEST.hex.upper(), ""),
        ("sha256", DIGEST.hex + JOURNAL, ""),
        ("sha256", DIGEST.hex, JOURNAL),
        ("sha256", DIGEST.hex[1:], ""),
        ("sha512", DIGEST.hex, ""),
        ("md5", "d41d8cd98f00b204e9800998ecf8427e", ""),
    ],
)
def test_names_of_others_are_not(algorithm: str, name: str, suffix: str) -> None:
    assert digest_of(algorithm, name, suffix) is None
