"""Where things lie in the store's directory.

A path is built only from a parsed digest, or from an upload's session, whose letters are checked.

::

    lock                        held (flock) by the node that uses the directory
    blobs/sha256/<hex>          complete blobs, as in an OCI layout
    blobs/sha256/<hex>.midstates    the list of one, where it has more than one chunk or was scrubbed;
                                    its time is when the bytes were last verified
    blobs/sha256/<hex>.pin      marks one that is never evicted, here already or not
    partial/sha256/<hex>        a blob that still grows
    partial/sha256/<hex>.journal    what is in it
    quarantine/sha256/<hex>     a blob whose bytes went bad at rest
    uploads/sha256/<session>    what a client uploads, hashed by this algorithm while it comes
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.core.oci.digest import ALGORITHMS, Digest
from p2p.core.oci.error import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

MIDSTATES: Final = ".midstates"
PIN: Final = ".pin"
JOURNAL: Final = ".journal"

SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
"""Names of uploads."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths under ``root``."""

    root: Path

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.root / "lock"

    def blobs(self, algorithm: str) -> Path:
        """Directory of complete blobs."""
        return self.root / "blobs" / algorithm

    def partials(self, algorithm: str) -> Path:
        """Directory of growing blobs."""
        return self.root / "partial" / algorithm

    def quarantined(self, algorithm: str) -> Path:
        """Directory of bad blobs."""
        return self.root / "quarantine" / algorithm

    def uploads(self, algorithm: str) -> Path:
        """Directory of uploads."""
        return self.root / "uploads" / algorithm

    def upload(self, algorithm: str, session: str) -> Path:
        """An upload; ValueError for a session or an algorithm that none can have."""
        if SESSION.fullmatch(session) is None or algorithm not in ALGORITHMS:
            raise ValueError(f"no upload is called {session!r} and hashed by {algorithm!r}")
        return self.uploads(algorithm) / session

    def blob(self, digest: Digest, suffix: str = "") -> Path:
        """A complete blob, or its file of ``suffix``."""
        return self.blobs(digest.algorithm) / (digest.hex + suffix)

    def partial(self, digest: Digest, suffix: str = "") -> Path:
        """A growing blob, or its file of ``suffix``."""
        return self.partials(digest.algorithm) / (digest.hex + suffix)

    def quarantine(self, digest: Digest) -> Path:
        """A bad blob."""
        return self.quarantined(digest.algorithm) / digest.hex


def digest_of(algorithm: str, name: str, suffix: str = "") -> Digest | None:
    """Read a file's name back; None where it is none of ours."""
    if algorithm not in ALGORITHMS or not name.endswith(suffix):
        return None
    try:
        return Digest(algorithm, name.removesuffix(suffix))
    except RegistryError:
        return None
