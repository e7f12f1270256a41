from __future__ import annotations

import dataclasses

import pytest

from p2p.core.oci.digest import Digest
from p2p.store.api import StoredBlob


def test_a_stored_blob_is_a_value() -> None:
    blob = StoredBlob(Digest.of(b"x"), 1)
    assert blob == StoredBlob(Digest.of(b"x"), 1, pinned=False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        blob.size = 2  # type: ignore[misc]  # the point of the test
