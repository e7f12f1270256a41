import os
import signal

import pytest
import trio
from click.testing import CliRunner

from p2p.cli.app import main
from p2p.cli.prefetch import display, run
from p2p.core.wire.common import PROTOCOL_VERSION
from p2p.core.wire.tracker import JobReport, NodeReport, PrefetchCancel, Welcome
from p2p.errors import TrackerError

WELCOME = Welcome(PROTOCOL_VERSION, 1.0, "127.0.0.1")


def report(*states: str) -> JobReport:
    rows = tuple(
        NodeReport(f"id{n}", f"n{n}", "app:1", state, 10, (("peers", 5),)) for n, state in enumerate(states)
    )
    return JobReport("job-1", rows, all(state in ("done", "failed") for state in states))


async def test_reports_are_followed_to_the_end(open_tracker_twin) -> None:
    shown: list[JobReport] = []
    script = [[WELCOME], [report("waiting"), report("pulling"), report("done")]]
    async with open_tracker_twin(script) as twin:
        last = await run((twin.url,), ("app:1",), ("*",), 5.0, shown.append)
    assert last == report("done")
    assert [row.state for entry in shown for row in entry.rows] == ["waiting", "pulling", "done"]
    assert not any(isinstance(message, PrefetchCancel) for message in twin.got)


async def test_the_end_of_patience_cancels_the_job_and_tells_what_there_is(open_tracker_twin) -> None:
    async with open_tracker_twin([[WELCOME], [report("done", "pulling")]]) as twin:
        last = await run((twin.url,), ("app:1",), ("*",), 0.2, lambda _: None)
        await twin.wait_for(3)
    assert last == report("done", "pulling")
    assert twin.got[-1] == PrefetchCancel("job-1")


async def test_an_interrupt_cancels_the_job(open_tracker_twin) -> None:
    def interrupt(_: JobReport) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    async with open_tracker_twin([[WELCOME], [report("pulling")]]) as twin:
        with pytest.raises(KeyboardInterrupt):
            await run((twin.url,), ("app:1",), ("*",), 5.0, interrupt)
        await twin.wait_for(3)
    assert twin.got[-1] == PrefetchCancel("job-1")


async def test_a_tracker_that_goes_away(open_tracker_twin) -> None:
    async with open_tracker_twin([[WELCOME], [report("pulling"), None]]) as twin:
        with pytest.RaisesGroup(TrackerError, allow_unwrapped=True, flatten_subgroups=True):
            await run((twin.url,), ("app:1",), ("*",), 5.0, lambda _: None)


async def test_a_tracker_that_says_nothing(open_tracker_twin) -> None:
    async with open_tracker_twin([[WELCOME]]) as twin:
        with pytest.raises(TrackerError, match="no answer"):
            await run((twin.url,), ("app:1",), ("*",), 0.1, lambda _: None)


async def test_displays(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal, quiet in ((True, False), (False, False), (False, True)):
        context, show = display(terminal=terminal, quiet=quiet)
        with context:
            show(report("pulling"))
            show(report("pulling"))
            show(report("done"))
        err = capsys.readouterr().err
        assert bool(err) is not quiet
        if not terminal and not quiet:
            assert len(err.splitlines()) == 2  # what did not change is not told again
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["app:1", "--tracker", "ws://127.0.0.1:1"], 1, "can't be reached"),
        (["app:1", "--tracker", "http://127.0.0.1:1"], 2, "is not a tracker's URL"),
        (["app:1"], 2, "Name it with --tracker"),
        (["App:1", "--tracker", "ws://127.0.0.1:1"], 2, "must be lower case"),
        (["app:1", "--tracker", "ws://127.0.0.1:1", "--timeout", "soon"], 2, "is not a duration"),
        ([], 2, "Missing argument"),
    ],
)
def test_errors(arguments: list[str], code: int, words: str) -> None:
    result = CliRunner(env={"REMORA_CONFIG": os.devnull}).invoke(main, ["prefetch", *arguments])
    assert words in result.stderr
    assert result.exit_code == code
