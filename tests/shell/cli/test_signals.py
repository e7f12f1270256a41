import os
import signal

import pytest
import trio
import trio.testing

from p2p.cli.signals import until_signal
from p2p.errors import LocalError


async def test_work_that_ends_by_itself() -> None:
    assert await until_signal(trio.lowlevel.checkpoint) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_cancels_the_work_which_tidies_up(number: signal.Signals) -> None:
    tidied = False

    async def work() -> None:
        nonlocal tidied
        os.kill(os.getpid(), number)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                tidied = True

    assert await until_signal(work) == number
    assert tidied


async def test_errors_of_the_work_come_out() -> None:
    async def work() -> None:
        raise LocalError("a", "b")

    with pytest.RaisesGroup(LocalError):
        await until_signal(work)
