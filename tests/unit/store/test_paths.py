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


def test_an_upload_lies_by_its_session() -> None:
    assert PATHS.upload("sha512", "a-B_9") == Path("/s/uploads/sha512/a-B_9")
    assert PATHS.upload("sha256", "x" * 128).name == "x" * 128


@pytest.mark.parametrize("session", ["", ".", "..", "a/b", "/a", "a.b", "a b", "é", "a\n", "a\0", "x" * 129])
def test_a_session_is_no_path(session: str) -> None:
    with pytest.raises(ValueError, match="no upload"):
        PATHS.upload("sha256", session)


@pytest.mark.parametrize("algorithm", ["md5", "..", ""])
def test_uploads_of_no_algorithm(algorithm: str) -> None:
    with pytest.raises(ValueError, match="no upload"):
        PATHS.upload(algorithm, "a")
