from __future__ import annotations

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.metadata.api import GENERIC, merged

DIGEST = Digest.of(b"x")


def test_first_link_drops_all_but_type_and_size() -> None:
    new = Descriptor("application/x.y", DIGEST, 3, annotations=(("a", "b"),))
    assert merged(None, new) == Descriptor("application/x.y", DIGEST, 3)


def test_specific_type_wins_over_what_was_known() -> None:
    known = Descriptor("application/x.y", DIGEST, 3)
    assert merged(known, Descriptor("application/x.z", DIGEST, 4)) == Descriptor("application/x.z", DIGEST, 4)


def test_vague_news_change_nothing() -> None:
    known = Descriptor("application/x.y", DIGEST, 3)
    for vague in ("", GENERIC):
        assert merged(known, Descriptor(vague, DIGEST, 0)) == known
