"""Which list is gone by: it grows by agreement, and disagreement is kept apart until it is decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.core.swarm.lists import IDS, Lists
from p2p.core.swarm.midstates import Midstates
from p2p.core.swarm.peer import Peer
from tests.support.swarm_rig import provider, states

COUNT = 10
TRUE = states(COUNT)
FALSE = states(COUNT, "false")


def peer(name: str = "a", *, complete: bool = False) -> Peer:
    return Peer(provider(name), 0.0, complete=complete)


def offer(lists: Lists, one: Peer, listed: Midstates, start: int = 0) -> bool:
    part = listed.states[start * listed.width :]
    return lists.offered(one, start, part, listed.list_id())


def test_an_agreeing_list_extends_ours() -> None:
    lists, one = Lists("sha256", links=True), peer()
    assert offer(lists, one, TRUE.prefix(3))
    assert (lists.adopted, one.length, one.dissent, lists.own) == (TRUE.prefix(3), 3, False, False)
    assert offer(lists, one, TRUE.prefix(5), 3)
    assert lists.adopted == TRUE.prefix(5)
    other = peer("b")
    assert not offer(lists, other, TRUE.prefix(2))
    assert (other.length, other.dissent) == (2, False)


def test_a_peer_may_start_where_our_list_ends() -> None:
    """The subscription said which states we have."""
    lists, one, late = Lists("sha256", links=True), peer(), peer("late")
    offer(lists, one, TRUE.prefix(4))
    assert offer(lists, late, TRUE.prefix(6), 4)
    assert late.length == 6


@pytest.mark.parametrize("start", [1, 5, 9])
def test_states_that_follow_nothing_are_refused(start: int) -> None:
    with pytest.raises(ValueError, match="do not follow"):
        offer(Lists("sha256", links=True), peer(), TRUE, start)


def test_a_list_that_its_id_does_not_commit_to_is_refused() -> None:
    with pytest.raises(ValueError, match="commits"):
        Lists("sha256", links=True).offered(peer(), 0, TRUE.states, FALSE.list_id())
    with pytest.raises(ValueError, match="whole number"):
        Lists("sha256", links=True).offered(peer(), 0, TRUE.states[:-1], TRUE.list_id())


def test_a_dissenter_changes_nothing_and_may_come_round() -> None:
    lists, one, other = Lists("sha256", links=True), peer(), peer("b")
    offer(lists, one, TRUE.prefix(3))
    assert not offer(lists, other, FALSE.prefix(7))
    assert (other.dissent, other.states, other.length) == (True, FALSE.prefix(7), 0)
    assert lists.adopted == TRUE.prefix(3)
    assert offer(lists, other, TRUE)
    assert (other.dissent, other.states, other.length) == (False, None, COUNT - 1)


def test_a_dissenters_list_goes_on_from_its_own() -> None:
    lists, one, other = Lists("sha256", links=True), peer(), peer("b")
    offer(lists, one, TRUE.prefix(3))
    offer(lists, other, FALSE.prefix(3))
    assert not offer(lists, other, FALSE, 3)
    assert other.states == FALSE


def test_more_peers_behind_another_list_outvote_ours_but_never_our_own() -> None:
    lists, liar = Lists("sha256", links=True), peer("liar")
    offer(lists, liar, FALSE)
    honest = [peer(name) for name in "abc"]
    offer(lists, honest[0], TRUE)
    assert not lists.outvoted([liar, *honest[:1]])
    offer(lists, honest[1], TRUE)
    assert lists.outvoted([liar, *honest[:2]])
    assert lists.best_dissent([liar, *honest[:2]], COUNT - 1) == TRUE
    lists.own = True
    assert not lists.outvoted([liar, *honest[:2]])


def test_the_dissent_that_is_tried_first_is_full() -> None:
    """A full list gives itself away by one of its links; a stump may never."""
    lists, ours = Lists("sha256", links=True), peer("ours")
    offer(lists, ours, states(COUNT, "ours").prefix(2))
    crowd = [peer(name) for name in "abc"]
    for one in crowd:
        offer(lists, one, FALSE.prefix(7))
    lone = peer("lone")
    offer(lists, lone, TRUE)
    assert lists.best_dissent([ours, *crowd, lone], COUNT - 1) == TRUE


def test_a_change_of_lists_turns_the_sides_round() -> None:
    lists, liar, honest = Lists("sha256", links=True), peer("liar"), peer("honest")
    offer(lists, liar, FALSE)
    offer(lists, honest, TRUE)
    lists.change(TRUE, [liar, honest], fell=False)
    assert (lists.adopted, lists.own, lists.firm) == (TRUE, False, False)
    assert (honest.dissent, honest.length) == (False, COUNT - 1)
    assert (liar.dissent, liar.states) == (True, FALSE)
    lists.change(FALSE, [liar, honest], fell=False)
    assert (honest.dissent, liar.dissent) == (True, False)


def test_what_fell_and_what_begins_with_it_is_not_gone_by_again() -> None:
    lists, liar = Lists("sha256", links=True), peer("liar")
    offer(lists, liar, FALSE.prefix(4))
    lists.change(TRUE.prefix(1), [liar], fell=True)
    late = peer("late")
    assert not offer(lists, late, FALSE)
    assert late.dissent
    assert lists.best_dissent([liar, late], COUNT - 1) is None
    assert not lists.outvoted([liar, late])


def test_after_a_fall_into_nothing_our_own_list_is_firm() -> None:
    """Peers behind the fallen list's beginning must not lead us there again."""
    lists, liar, honest = Lists("sha256", links=True), peer("liar"), peer("honest")
    offer(lists, liar, FALSE.prefix(5))
    lists.adopted = FALSE  # the origin's stream went on behind it
    lists.change(Midstates("sha256"), [liar], fell=True)
    assert lists.own
    assert lists.firm
    assert not lists.adopted.length
    assert not offer(lists, honest, TRUE)
    assert (honest.dissent, honest.length, honest.states) == (False, 0, TRUE)
    lists.appended(TRUE.prefix(3))
    lists.compare_again([liar, honest])
    assert (honest.dissent, honest.length) == (False, 3)
    assert liar.dissent
    assert lists.own


def test_a_firm_list_softens_and_the_longest_that_agrees_extends_it() -> None:
    lists, honest, liar = Lists("sha256", links=True), peer("honest"), peer("liar")
    offer(lists, liar, FALSE.prefix(5))
    lists.change(Midstates("sha256"), [liar], fell=True)
    offer(lists, honest, TRUE)
    lists.appended(TRUE.prefix(2))
    lists.soften([liar, honest])
    assert (lists.adopted, lists.own, lists.firm) == (TRUE, False, False)
    assert liar.dissent


def test_what_was_set_aside_is_tried_again_only_when_it_grew_or_others_stand_for_it() -> None:
    lists, one, other = Lists("sha256", links=True), peer("one"), peer("other")
    offer(lists, one, FALSE.prefix(4))
    offer(lists, other, TRUE.prefix(4))
    everyone = [one, other]
    lists.set_aside(everyone)
    lists.change(TRUE.prefix(4), everyone, fell=False)
    assert lists.best_dissent(everyone, COUNT - 1) is None
    offer(lists, one, FALSE.prefix(3))
    assert lists.best_dissent(everyone, COUNT - 1) is None
    offer(lists, one, FALSE.prefix(6))
    assert lists.best_dissent(everyone, COUNT - 1) == FALSE.prefix(6)
    third = peer("third")
    offer(lists, one, FALSE.prefix(4))
    offer(lists, third, FALSE.prefix(4))
    assert lists.best_dissent([*everyone, third], COUNT - 1) == FALSE.prefix(4)


def test_who_completes_stands_for_a_list_anew() -> None:
    lists, one, other = Lists("sha256", links=True), peer("one"), peer("other")
    offer(lists, one, FALSE)
    offer(lists, other, TRUE)
    lists.set_aside([one, other])
    lists.change(TRUE, [one, other], fell=False)
    assert lists.best_dissent([one, other], COUNT - 1) is None
    one.complete = True
    assert lists.best_dissent([one, other], COUNT - 1) == FALSE


def test_a_resumed_list_is_gone_by_and_peers_extend_it() -> None:
    lists, one = Lists("sha256", links=True), peer()
    offer(lists, one, TRUE)
    assert lists.resume(TRUE.prefix(4), [one])
    assert (lists.adopted, one.dissent) == (TRUE, False)


def test_a_resumed_list_stands_against_peers_that_disagree() -> None:
    lists, one = Lists("sha256", links=True), peer()
    offer(lists, one, FALSE)
    assert not lists.resume(TRUE.prefix(4), [one])
    assert (lists.adopted, lists.own, one.dissent) == (TRUE.prefix(4), False, True)


def test_links_known_by_a_list() -> None:
    lists = Lists("sha256", links=True)
    assert lists.known(0, COUNT) == 0
    assert lists.known(3, COUNT) == 0b111
    assert lists.known(COUNT - 1, COUNT) == (1 << COUNT) - 1
    assert lists.known(0, 1) == 1
    assert Lists("sha256", links=False).known(0, COUNT) == (1 << COUNT) - 1


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["true", "false", "ours"]), st.integers(0, 9))))
def test_any_course_of_offers(course: list[tuple[int, str, int]]) -> None:
    """A peer is on our side with states that we have, or it dissents with states that it has."""
    lists, peers = Lists("sha256", links=True), [peer(name) for name in "abcd"]
    for who, salt, length in course:
        offer(lists, peers[who], states(COUNT, salt).prefix(length))
        if lists.outvoted(peers):
            best = lists.best_dissent(peers, COUNT - 1)
            assert best is not None
            lists.change(best, peers, fell=length % 2 == 0)
        for one in peers:
            if one.dissent:
                assert one.states is not None
                assert one.length == 0
            else:
                assert one.length <= lists.adopted.length
                assert one.states is None or one.states.agrees(lists.adopted)


def test_few_ids_of_our_prefixes_are_remembered() -> None:
    """A blob has tens of thousands of chunks, and peers tell of the list after each."""
    lists, one, other = Lists("sha256", links=True), peer(), peer("b")
    whole = states(4 * IDS)
    for length in range(1, whole.length + 1):
        offer(lists, one, whole.prefix(length), length - 1)
        assert not offer(lists, other, whole.prefix(length))
    assert len(lists._ids) == IDS
    assert not offer(lists, other, whole.prefix(1)), "what was forgotten is reckoned again"
    assert other.length == 1
