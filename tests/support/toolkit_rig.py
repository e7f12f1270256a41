"""An image of two platforms with a signature that refers to it, as a layout, for tests of the toolkit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.images import OCI_MANIFEST, Content, Image, OciLayout, small_layers

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = "application/vnd.example.signature"
EMPTY = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True)
class Made:
    """The layout with the image ``multi`` and a single one, ``one``; the signature of ``multi``'s index."""

    layout: OciLayout
    multi: Image
    one: Image
    signature: Content

    @property
    def root(self) -> Path:
        """The layout's directory."""
        return self.layout.root


def make(root: Path, size: int = 20_000) -> Made:
    """Make it; ``size`` is that of each layer."""
    layout = OciLayout(root)
    shared = small_layers(layout, 1, size, seed=1)
    amd64 = layout.image([*shared, *small_layers(layout, 1, size, seed=2)], tag="one")
    arm64 = layout.image([*shared, *small_layers(layout, 1, size, seed=3)], architecture="arm64")
    multi = layout.index({"amd64": amd64, "arm64": arm64}, tag="multi")
    config = layout.add(b"{}", EMPTY)
    payload = layout.add(b"signed", SIGNATURE)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": SIGNATURE,
        "config": config.descriptor(),
        "layers": [payload.descriptor()],
        "subject": multi.top.descriptor(),
        "annotations": {"by": "the tests"},
    }
    signature = layout.add(json.dumps(document).encode(), OCI_MANIFEST)
    layout._tag(signature, "signature")
    return Made(layout, multi, amd64, signature)
