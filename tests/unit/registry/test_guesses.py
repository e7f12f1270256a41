from __future__ import annotations

from p2p.registry.guesses import MOST, REMEMBERED, WINDOW, Guesses


def test_a_client_has_so_many_in_a_window() -> None:
    guesses = Guesses()
    for number in range(MOST):
        assert guesses.allowed("a", number * 0.1)
        guesses.wrong("a", number * 0.1)
    assert not guesses.allowed("a", WINDOW - 0.1)
    assert guesses.allowed("b", WINDOW - 0.1)
    assert guesses.allowed("a", WINDOW)
    guesses.wrong("a", WINDOW)
    assert guesses.allowed("a", WINDOW)


def test_what_is_remembered_has_a_bound() -> None:
    guesses = Guesses()
    for number in range(REMEMBERED + 5):
        guesses.wrong(f"client {number}", 0.0)
    assert len(guesses._wrong) == REMEMBERED
    assert "client 0" not in guesses._wrong
