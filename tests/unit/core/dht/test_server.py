from __future__ import annotations

import random

import pytest

from p2p.core.dht.contact import Contact, Endpoint, id_of
from p2p.core.dht.messages import (
    NO_TOKEN,
    Find,
    Found,
    Held,
    Ping,
    Pong,
    Prove,
    Put,
    Record,
    Request,
    Stored,
    encode,
)
from p2p.core.dht.records import LIFE, Records
from p2p.core.dht.routing import Member, Table
from p2p.core.dht.sealing import MAX_MESSAGE
from p2p.core.dht.server import SWEEP, Own, Server, pong_bytes
from tests.support.dht_rig import EPOCH, endpoint_of, public_of, record_of, sign_as, verify

KEY = b"k" * 20
ME, ASKER = public_of(0), public_of(1)
HERE = endpoint_of(1)


class Rig:
    def __init__(self) -> None:
        self.table = Table(id_of(ME))
        self.records = Records()
        self.server = Server(
            Own(ME, sign_as(ME), ME[:16], 5001),
            table=self.table,
            records=self.records,
            verify=verify,
            entropy=random.Random(1).randbytes,
            now=0.0,
        )

    def put(self, record: Record, sender: bytes = id_of(ASKER), wall: float = EPOCH) -> object:
        request = Put(bytes(8), sender, NO_TOKEN, record)
        return self.server.answer(request, HERE, 0.0, wall)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    "request_",
    [
        Ping(bytes(8), id_of(ASKER), NO_TOKEN),
        Find(bytes(8), id_of(ASKER), NO_TOKEN, KEY, True),
        Put(bytes(8), id_of(ASKER), NO_TOKEN, record_of(1, KEY)),
    ],
)
def test_a_challenge_first(rig: Rig, request_: Request) -> None:
    assert not rig.server.is_proven(request_, HERE, 0.0)
    challenge = rig.server.challenge(request_, HERE, 0.0)
    assert isinstance(challenge, Prove)
    assert len(encode(challenge)) <= len(encode(request_))
    proven = Ping(bytes(8), id_of(ASKER), challenge.token)
    assert rig.server.is_proven(proven, HERE, 1.0)
    assert not rig.server.is_proven(proven, Endpoint(HERE.ip, 1), 1.0)


def test_a_pong_is_signed_over_the_question_and_the_asker(rig: Rig) -> None:
    pong = rig.server.answer(Ping(b"question", id_of(ASKER), NO_TOKEN), HERE, 0.0, EPOCH)
    assert isinstance(pong, Pong)
    assert verify(pong.public, pong.signature, pong_bytes(b"question", id_of(ASKER), ME[:16], 5001))
    assert not verify(pong.public, pong.signature, pong_bytes(b"question", id_of(ME), ME[:16], 5001))


def test_records_are_taken_from_their_provider_alone(rig: Rig) -> None:
    assert rig.put(record_of(1, KEY)) == Stored(bytes(8), id_of(ME))
    assert rig.put(record_of(2, KEY)) is None, "of another node"
    assert rig.put(record_of(1, KEY), wall=EPOCH + LIFE) is None, "run out"
    assert rig.server.refused == 2
    assert rig.records.get(KEY, 0.0) == [Held(record_of(1, KEY), HERE.ip)]


def test_a_record_holds_no_longer_than_any_may(rig: Rig) -> None:
    rig.put(record_of(1, KEY, life=LIFE + 20))
    assert rig.records.get(KEY, LIFE - 1)
    assert rig.records.get(KEY, LIFE) == []
    rig.server.sweep(SWEEP)
    assert len(rig.records) == 1
    rig.server.sweep(LIFE + SWEEP)
    assert len(rig.records) == 0


def test_an_answer_fits_whatever_is_known(rig: Rig) -> None:
    for number in range(2, 60):
        public = public_of(number)
        rig.table.add_contact(Member(public, Contact(id_of(public), Endpoint(b"\xfd" * 16, 5001)), 5001, 0.0))
        rig.server.keep(record_of(number, KEY, host="h" * 250), b"\xfd" * 16, 0.0, EPOCH)
    publics = set()
    for _ in range(600):
        found = rig.server.answer(Find(bytes(8), id_of(ASKER), NO_TOKEN, KEY, True), HERE, 0.0, EPOCH)
        assert isinstance(found, Found)
        assert len(encode(found)) <= MAX_MESSAGE
        assert len(found.contacts) == 8
        assert found.records
        publics |= {held.record.public for held in found.records}
    assert len(publics) == 58, "asked again and again, all are told"


def test_who_wants_no_records_gets_none_and_never_himself(rig: Rig) -> None:
    rig.put(record_of(1, KEY))
    rig.table.add_contact(Member(ASKER, Contact(id_of(ASKER), HERE), 5001, 0.0))
    found = rig.server.answer(Find(bytes(8), id_of(ASKER), NO_TOKEN, KEY, False), HERE, 0.0, EPOCH)
    assert found == Found(bytes(8), id_of(ME), (), ())
