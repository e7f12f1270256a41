"""Referrers at a registry without the referrers API: a tag that lists them, kept by whoever pushes one.

Source: distribution-spec, "Referrers Tag Schema".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, parse_manifest

if TYPE_CHECKING:
    from p2p.origin.api import Destination, Origin

_LONGEST_TAG = 128


def referrers_tag(subject: Digest) -> str:
    """Give the tag of a subject's list."""
    return f"{subject.algorithm}-{subject.hex}"[:_LONGEST_TAG]


async def list_by_tag(
    origin: Origin, destination: Destination, path: str, subject: Digest, referrer: Descriptor
) -> None:
    """Add a referrer to the list of its subject, unless it is there. Raises OriginError.

    Two clients that do this at once can lose one of the two entries: the registry offers nothing better.
    """
    fetched = await origin.referrers(path, subject, None)
    listed = parse_manifest(fetched.data, fetched.media_type).manifests
    if any(entry.digest == referrer.digest for entry in listed):
        return
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry.to_json() for entry in (*listed, referrer)],
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    index = Descriptor(OCI_INDEX, Digest.of(data), len(data))
    await destination.put_manifest(path, index, data, (referrers_tag(subject),))
