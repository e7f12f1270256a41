from __future__ import annotations

import pytest

from p2p.errors import ConfigError
from p2p.registry.auth.api import ANONYMOUS, Principal
from p2p.registry.auth.chain import ChainAuthenticator, NoAuthenticator, quoted
from tests.support.auth_rig import MemoryAuthenticator, basic


async def test_none_takes_everything_for_nobody() -> None:
    none = NoAuthenticator()
    assert await none.authenticate(basic("alice", "secret")) == ANONYMOUS
    assert none.challenges("repository:a:pull", "invalid_token") == ()


async def test_the_first_that_knows_decides() -> None:
    chain = ChainAuthenticator(
        [MemoryAuthenticator({"alice": "1"}), MemoryAuthenticator({"alice": "2", "bob": "3"})]
    )
    for user, password in (("alice", "1"), ("alice", "2"), ("bob", "3")):
        assert await chain.authenticate(basic(user, password)) == Principal(user)
    assert await chain.authenticate(basic("bob", "1")) is None
    assert await ChainAuthenticator([]).authenticate(basic("bob", "1")) is None


@pytest.mark.parametrize(
    ("challenges", "shown"),
    [
        (
            ['Basic realm="x"', 'Bearer realm="https://t",service="x"'],
            ['Bearer realm="https://t",service="x"'],
        ),
        (['Basic realm="x"', 'Bearer service="x"'], ['Basic realm="x"']),
        (['Bearer service="x"'], ['Bearer service="x"']),
        ([], []),
    ],
)
def test_one_kind_of_challenge(challenges: list[str], shown: list[str]) -> None:
    chain = ChainAuthenticator([MemoryAuthenticator(challenge=one) for one in challenges])
    assert list(chain.challenges("repository:a:pull")) == shown


def test_quoting() -> None:
    assert quoted("auth.service", "My registry") == '"My registry"'
    for bad in ('a"b', "a\\b", "a\r\nb", "é"):
        with pytest.raises(ConfigError, match=r"auth\.service"):
            quoted("auth.service", bad)
