import pytest

from p2p.core.swarm.acquaintances import (
    BURST,
    DIGESTS,
    HINTS,
    LATER,
    NODES,
    PAUSE,
    Acquaintances,
    Pace,
    admissible,
)

HERE, THERE = "127.0.0.1", "10.0.0.9"


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "203.0.113.7", "8.8.8.8", "fd00::1", "2606:4700::1"]
)
def test_numeric_addresses_of_hosts_are_admissible(host):
    assert admissible(host, 5001, THERE) is (host != "203.0.113.7" or admissible("203.0.113.7", 5001, THERE))
    assert not admissible(host, 0, THERE)
    assert not admissible(host, 65536, THERE)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "168.63.129.16",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "metadata.internal",
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1/8",
        "http://10.0.0.1",
        "",
        "2001:0:a9fe:a9fe::1",
    ],
)
def test_what_is_never_dialled_on_the_word_of_a_peer_elsewhere(host):
    assert not admissible(host, 5001, THERE)
    assert not admissible(host, 5001, "node-7.example")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_for_peers_on_loopback(host):
    assert admissible(host, 5001, HERE)
    assert admissible(host, 5001, "::1")
    assert admissible(host, 5001, "localhost")


def test_everybody_but_the_asker_who_was_not_told_the_latest_first():
    known = Acquaintances()
    assert known.add("d", "a", ("10.0.0.1", 1))
    assert known.add("d", "b", ("10.0.0.2", 1))
    assert not known.add("d", "b", ("10.0.0.2", 1)), "for another reason"
    assert known.add("e", "c", ("10.0.0.3", 1))
    assert known.others("d", "x", ()) == (("10.0.0.2", 1), ("10.0.0.1", 1))
    assert known.others("d", "a", ()) == (("10.0.0.2", 1),)
    assert known.others("d", "x", {("10.0.0.2", 1)}) == (("10.0.0.1", 1),)
    known.remove("d", "b")
    assert len(known.others("d", "x", ())) == 2, "one reason is left"
    known.remove("d", "b")
    known.remove("d", "b")
    assert known.others("d", "x", ()) == (("10.0.0.1", 1),)
    known.remove("d", "a")
    known.remove("e", "c")
    assert len(known) == 0


def test_a_node_that_comes_from_elsewhere_is_news():
    known = Acquaintances()
    known.add("d", "a", ("10.0.0.1", 1))
    assert known.add("d", "a", ("10.0.0.2", 1))
    assert known.others("d", "x", ()) == (("10.0.0.2", 1),)


def test_everything_is_bounded():
    known = Acquaintances()
    for number in range(10 * NODES):
        known.add("d", f"n{number}", ("10.0.0.1", number + 1))
    found = known.others("d", "x", ())
    assert len(found) == HINTS
    assert found[0] == ("10.0.0.1", 10 * NODES)
    assert len(known.others("d", "x", dict.fromkeys(found))) == HINTS
    for number in range(DIGESTS + 10):
        known.add(f"d{number}", "n", ("10.0.0.1", 1))
    assert len(known) == DIGESTS


def test_the_pace():
    pace, now = Pace(), 0.0
    for _ in range(BURST):
        assert pace.wait(now) == PAUSE
    assert pace.wait(now) == LATER
    assert pace.wait(now + 2 * LATER) == PAUSE
    assert pace.wait(now + 2 * LATER) == PAUSE
    assert pace.wait(now + 2 * LATER) == LATER
