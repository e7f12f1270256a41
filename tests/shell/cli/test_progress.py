import pytest

from p2p.cli.progress import Lines, listener, show
from p2p.core.oci.digest import Digest
from p2p.toolkit.api import BlobAdvanced, BlobBegan

DIGEST = Digest.of(b"x")


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin(DIGEST, 2048, 0)
    lines.advance(DIGEST, 1024)
    lines.advance(DIGEST, 2048)
    lines.begin(DIGEST, 2048, 1024)
    lines.begin(DIGEST, 2048, 2048)
    told = [line.split(None, 3)[3] for line in capsys.readouterr().err.splitlines()]
    assert told == ["pulling", "done", "resumes at 1.0 KiB", "already here"]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("quiet", [True, False])
def test_each_way_takes_the_same_calls(
    terminal: bool, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with show(terminal=terminal, quiet=quiet) as progress:
        progress.begin(DIGEST, 10, 0)
        progress.advance(DIGEST, 10)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert bool(captured.err) is not quiet


def test_words_of_a_push_and_events(capsys: pytest.CaptureFixture[str]) -> None:
    with show(terminal=False, quiet=False, verb="pushing", place="there") as progress:
        listen = listener(progress)
        listen(BlobBegan(DIGEST, 10, 0))
        listen(BlobAdvanced(DIGEST, 10))
        listen(BlobBegan(DIGEST, 10, 10))
    told = [line.split(None, 3)[3] for line in capsys.readouterr().err.splitlines()]
    assert told == ["pushing", "done", "already there"]
