from __future__ import annotations

import re
from datetime import UTC, datetime

from p2p.config import WELL_KNOWN
from p2p.core.oci.reference import validate_path
from p2p.metadata.hosting import HOSTED
from p2p.metadata.private import OWN_SUFFIX, VisibilityRow
from p2p.registry.upstreams import OWN


def test_own_registries_are_told_from_upstreams_by_their_names() -> None:
    assert all(name.endswith(OWN_SUFFIX) for name in OWN)
    assert HOSTED in OWN
    assert not any(name.endswith(OWN_SUFFIX) for name in WELL_KNOWN)
    # It is put into a LIKE as it stands, and a name of a repository could end so: it is no registry.
    assert re.fullmatch(r"[.a-z]+", OWN_SUFFIX)
    assert validate_path(f"app{OWN_SUFFIX}")


def test_judgements_are_values() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert VisibilityRow(private=True, judged_at=when) != VisibilityRow(private=False, judged_at=when)
