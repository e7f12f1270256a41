from click.testing import CliRunner

from p2p.cli.app import main
from p2p.discovery.dht.keyring import parse_key


def test_a_key_is_new_each_time_and_can_be_used() -> None:
    first, second = (CliRunner().invoke(main, ["cluster", "key"]).stdout for _ in range(2))
    assert first != second
    assert len(parse_key(first, "stdout")) == 32
