"""What search reads, keeps and finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2p.registry.extension import Catalog

if TYPE_CHECKING:
    from p2p.core.oci.reference import Repository

__all__ = ["Catalog", "Document", "Found", "Page"]


@dataclass(frozen=True, slots=True)
class Document:
    """What is kept of one manifest or index of one repository.

    ``size``: the bytes of the manifest and all that it lists, each digest once (of an index, of the
    manifests only). ``platforms``: the image's own, or those of an index.
    ``subject`` is "" where it has none.
    """

    repository: Repository
    digest: str
    media_type: str
    artifact_type: str
    size: int
    platforms: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A document that matches, with its tags and the number of manifests that refer to it."""

    key: int
    document: Document
    tags: tuple[str, ...]
    referrers: int

    def to_json(self) -> dict[str, object]:
        """Write as the API gives it."""
        document = self.document
        return {
            "repository": document.repository.path,
            "digest": document.digest,
            "mediaType": document.media_type,
            "artifactType": document.artifact_type,
            "size": document.size,
            "tags": list(self.tags),
            "platforms": list(document.platforms),
            "annotations": dict(document.annotations),
            "subject": document.subject or None,
            "referrers": self.referrers,
        }


@dataclass(frozen=True, slots=True)
class Page:
    """Matches, the latest indexed first, and the key to go on after; None at the end."""

    found: tuple[Found, ...]
    after: int | None
