from p2p.metadata.hosting import Accepted, GarbageStatistics


def test_an_acceptance_without_objections_is_one() -> None:
    accepted = Accepted()
    assert not accepted.missing
    assert not accepted.conflicts


def test_statistics_are_values() -> None:
    assert GarbageStatistics(1, 2, 3) == GarbageStatistics(1, 2, 3)
