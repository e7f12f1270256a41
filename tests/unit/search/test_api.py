from __future__ import annotations

from p2p.core.oci.reference import Repository
from p2p.search.api import Document, Found


def test_what_the_api_gives() -> None:
    document = Document(
        Repository("hosted", "team/app"), "sha256:ab", "m/t", "a/t", 7, ("linux/arm64",), (("k", "v"),)
    )
    assert Found(3, document, ("1",), 2).to_json() == {
        "repository": "team/app",
        "digest": "sha256:ab",
        "mediaType": "m/t",
        "artifactType": "a/t",
        "size": 7,
        "tags": ["1"],
        "platforms": ["linux/arm64"],
        "annotations": {"k": "v"},
        "subject": None,
        "referrers": 2,
    }
