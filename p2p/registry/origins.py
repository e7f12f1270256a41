"""What the front end asks of upstream registries, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from p2p.origin.api import Origin

if TYPE_CHECKING:
    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest


class Upstream(Origin, Protocol):
    """An origin that also tells of a blob without giving it."""

    async def head_blob(self, path: str, digest: Digest) -> Descriptor:
        """HEAD a blob: its size, and proof that the repository reaches it. Raises OriginError."""
        ...


class OriginLookup(Protocol):
    """The configured upstreams."""

    def find(self, name: str) -> Upstream:
        """Give the upstream of this (canonical) name."""
        ...
