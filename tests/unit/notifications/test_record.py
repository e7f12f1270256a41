from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.oci.reference import Repository
from p2p.errors import LocalError
from p2p.notifications.api import What
from p2p.notifications.record import dump, load
from tests.support.happenings import happening

if TYPE_CHECKING:
    from datetime import datetime


@given(
    what=st.sampled_from(What),
    at=st.datetimes(timezones=st.timezones()),
    tags=st.lists(st.text(max_size=5)).map(tuple),
    actor=st.text(max_size=5),
    source=st.sampled_from([None, Repository("a", "b/c")]),
    with_target=st.booleans(),
)
def test_a_record_gives_the_happening_back(
    what: What, at: datetime, tags: object, actor: str, source: object, with_target: bool
) -> None:
    one = happening(what, at=at, tags=tags, actor=actor, source=source, client="::1", user_agent="é")
    if not with_target:
        one = replace(one, target=None)
    loaded = load(dump(one))
    # The same wall time at the same offset. Two times of different zones are never equal where a clock is set
    # (PEP 495), though they be the same instant.
    assert loaded.at.replace(tzinfo=None) == at.replace(tzinfo=None)
    assert loaded.at.utcoffset() == at.utcoffset()
    assert loaded == replace(one, at=loaded.at)


@pytest.mark.parametrize("data", [b"", b"\0", b"[]", b"{}", b'{"what":"push","at":"x"}', b'{"what":7}'])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(LocalError, match="can't be read"):
        load(data)
