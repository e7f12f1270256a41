from __future__ import annotations

import random

from p2p.core.dht.contact import Endpoint
from p2p.core.dht.tokens import ROTATE, Tokens

HERE = Endpoint(b"\x0a\0\0\1", 5001)
ME, OTHER = b"m" * 20, b"o" * 20


def test_bound_to_address_port_and_id() -> None:
    tokens = Tokens(random.Random(1).randbytes, 0.0)
    token = tokens.give(HERE, ME, 0.0)
    assert tokens.holds(token, HERE, ME, 1.0)
    assert not tokens.holds(token, Endpoint(HERE.ip, 5002), ME, 1.0)
    assert not tokens.holds(token, Endpoint(b"\x0a\0\0\2", 5001), ME, 1.0)
    assert not tokens.holds(token, HERE, OTHER, 1.0)
    assert not tokens.holds(bytes(16), HERE, ME, 1.0)


def test_they_last_between_one_turn_and_two() -> None:
    tokens = Tokens(random.Random(1).randbytes, 0.0)
    token = tokens.give(HERE, ME, ROTATE - 1)
    assert tokens.holds(token, HERE, ME, 2 * ROTATE - 1)
    assert not tokens.holds(token, HERE, ME, 2 * ROTATE)


def test_after_a_long_silence_none_holds() -> None:
    tokens = Tokens(random.Random(1).randbytes, 0.0)
    token = tokens.give(HERE, ME, 0.0)
    assert not tokens.holds(token, HERE, ME, 5 * ROTATE)
