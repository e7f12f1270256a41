"""``python -m tracker``: the same as ``remora tracker``, without the rest of the command line."""

from __future__ import annotations

import sys

from p2p.errors import RemoraError
from tracker.cli import command


def main() -> None:
    """Run the command; our own errors end as one line and their exit code."""
    try:
        command(prog_name="tracker")
    except* RemoraError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, RemoraError)
        sys.stderr.write(f"tracker: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
