from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.dht.messages import Held
from p2p.core.dht.records import LIFE, SKEW, Records, is_good, is_live
from tests.support.dht_rig import EPOCH, record_of, verify

KEY, OTHER = b"k" * 20, b"o" * 20
SEEN = b"\x0a\0\0\1"


def held(number: int, key: bytes = KEY, life: float = LIFE, port: int = 5001) -> Held:
    return Held(record_of(number, key, life=life, port=port), SEEN)


def test_a_good_record() -> None:
    record = record_of(1, KEY)
    assert is_good(record, EPOCH, verify)
    assert not is_good(record, EPOCH + LIFE, verify), "run out"
    assert not is_good(record_of(1, KEY, life=LIFE + SKEW + 2), EPOCH, verify), "holds for too long"
    assert is_live(record_of(1, KEY, life=LIFE + SKEW), EPOCH)
    assert not is_good(record_of(1, KEY, host="h" * 255 + "x" * 800), EPOCH, verify), "too long"


def test_every_field_is_signed() -> None:
    record = record_of(1, KEY)
    for change in (
        {"key": OTHER},
        {"public": b"p" * 32},
        {"host": "elsewhere"},
        {"port": 1},
        {"expires": record.expires - 1},
        {"signature": bytes(64)},
    ):
        assert not is_good(msgspec.structs.replace(record, **change), EPOCH, verify)


def test_union_and_renewal() -> None:
    records = Records()
    assert records.put(held(1, life=100), 100.0)
    assert records.put(held(2), 200.0)
    assert records.put(held(1, life=300), 300.0), "renewed"
    assert records.put(held(1, life=50), 50.0), "an older one changes nothing"
    assert len(records) == 2
    assert {one.record.public for one in records.get(KEY, 250.0)} == {record_of(1, KEY).public}
    assert records.get(OTHER, 0.0) == []
    records.expire(250.0)
    assert len(records) == 1
    records.expire(300.0)
    assert (len(records), records.get(KEY, 0.0)) == (0, [])


def test_what_is_taken_back_is_not_given_also_when_the_record_comes_once_more() -> None:
    records = Records()
    assert records.put(held(1, life=50, port=0), 50.0)
    assert len(records) == 0, "there was nothing to take back"
    records.put(held(1, life=100), 100.0)
    records.put(held(2, life=100), 100.0)
    assert records.put(held(1, life=101, port=0), 101.0)
    records.put(held(1, life=100), 100.0)
    assert [one.record.public for one in records.get(KEY, 0.0)] == [record_of(2, KEY).public]
    records.put(held(1, life=101), 101.0)
    assert len(records.get(KEY, 0.0)) == 2, "it has it again"
    full = Records(per_key=1)
    full.put(held(1, life=100), 100.0)
    full.put(held(1, life=200, port=0), 200.0)
    assert full.put(held(2, life=100), 100.0), "what was taken back gives way"
    assert len(full) == len(full.get(KEY, 0.0)) == 1


def test_a_full_key_keeps_what_holds_longest() -> None:
    records = Records(per_key=3)
    for number in range(3):
        assert records.put(held(number), 100.0 + number)
    assert not records.put(held(9), 100.0)
    assert records.put(held(9), 500.0)
    publics = {one.record.public for one in records.get(KEY, 0.0)}
    assert publics == {record_of(n, KEY).public for n in (1, 2, 9)}


def test_when_all_is_full_the_greediest_gives_way() -> None:
    records = Records(capacity=10)
    for number in range(9):
        records.put(held(1, b"%020d" % number), 100.0 + number)
    records.put(held(2), 50.0)
    for number in range(3):
        assert records.put(held(3 + number), 60.0)
    assert len(records) == 10
    assert len(records.get(KEY, 0.0)) == 4
    assert records.get(b"%020d" % 0, 0.0) == [], "its soonest to run out"
    assert records.get(b"%020d" % 8, 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 100)), max_size=60))
def test_counts_and_bounds(puts: list[tuple[int, int, int]]) -> None:
    records = Records(capacity=6, per_key=3)
    for number, key, life in puts:
        records.put(held(number, b"%020d" % key, life), float(life))
        kept = [len(records.get(b"%020d" % key, 0.0)) for key in range(4)]
        assert sum(kept) == len(records) <= 6
        assert max(kept) <= 3
    records.expire(1000.0)
    assert len(records) == 0
