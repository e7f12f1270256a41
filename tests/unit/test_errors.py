import inspect

import pytest

import p2p.errors
from p2p.errors import ConfigError, OriginLimitedError, OriginStatusError, PortInUseError, RemoraError, lone


def test_an_error_is_a_sentence_of_three_parts() -> None:
    error = PortInUseError(
        "port 5000", "another process listens there", "Choose another with --registry-listen"
    )
    assert str(error) == "port 5000: another process listens there. Choose another with --registry-listen"
    assert (error.subject, error.cause) == ("port 5000", "another process listens there")
    assert str(RemoraError("x", "broke")) == "x: broke"


def test_exit_codes() -> None:
    assert ConfigError("x", "y").exit_code == 2
    assert PortInUseError("x", "y").exit_code == 1


def test_errors_carry_what_a_caller_decides_by() -> None:
    assert OriginStatusError("hub", "unexpected", status=418).status == 418
    assert OriginLimitedError("hub", "slow down", retry_after=3.0).retry_after == 3.0


@pytest.mark.parametrize(
    "name", [n for n, c in inspect.getmembers(p2p.errors, inspect.isclass) if n != "Exception"]
)
def test_there_is_one_root_and_the_tree_names_all(name: str) -> None:
    assert issubclass(getattr(p2p.errors, name), RemoraError)
    assert name in (p2p.errors.__doc__ or "")


def test_the_lone_error_in_a_nurserys_groups() -> None:
    error = RemoraError("x", "broke")
    assert lone(error) is error
    assert lone(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    several = ExceptionGroup("", [ExceptionGroup("", [error, ValueError()])])
    assert lone(several) is several
