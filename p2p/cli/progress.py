"""How a pull is shown: bars on a terminal, a line for each blob elsewhere, nothing beside JSON."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from p2p.cli.units import format_size
from p2p.toolkit.api import BlobBegan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from p2p.core.oci.digest import Digest
    from p2p.toolkit.api import Event, Listener, Progress


class Bars:
    """A bar for each blob under way."""

    def __init__(self, progress: RichProgress) -> None:
        self._progress = progress
        self._tasks: dict[Digest, TaskID] = {}

    def begin(self, digest: Digest, size: int, held: int) -> None:
        """Add a bar."""
        task = self._progress.add_task(digest.hex[:12], total=size, completed=held)
        self._tasks[digest] = task

    def advance(self, digest: Digest, held: int) -> None:
        """Move it."""
        self._progress.update(self._tasks[digest], completed=held)


class Lines:
    """A line on stderr when a blob begins and when it is whole."""

    def __init__(self, verb: str = "pulling", place: str = "here") -> None:
        self._sizes: dict[Digest, int] = {}
        self._verb = verb
        self._place = place

    def begin(self, digest: Digest, size: int, held: int) -> None:
        """Tell what begins to move, or that it need not."""
        self._sizes[digest] = size
        resumed = f"resumes at {format_size(held)}" if held else self._verb
        state = f"already {self._place}" if held == size else resumed
        click.echo(f"{digest.hex[:12]}  {format_size(size):>9}  {state}", err=True)

    def advance(self, digest: Digest, held: int) -> None:
        """Tell when it is whole."""
        if held == self._sizes[digest]:
            click.echo(f"{digest.hex[:12]}  {format_size(held):>9}  done", err=True)


class Silence:
    """Nothing."""

    def begin(self, digest: Digest, size: int, held: int) -> None:
        """Say nothing."""

    def advance(self, digest: Digest, held: int) -> None:
        """Say nothing."""


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)


@contextmanager
def _plain(progress: Progress) -> Iterator[Progress]:
    yield progress


def show(
    *, terminal: bool, quiet: bool, verb: str = "pulling", place: str = "here"
) -> AbstractContextManager[Progress]:
    """Choose how; the context ends the display. ``verb`` and ``place`` are for what is no bar."""
    if quiet:
        return _plain(Silence())
    return _bars() if terminal else _plain(Lines(verb, place))


def listener(progress: Progress) -> Listener:
    """Give what the toolkit's client tells its events to."""

    def listen(event: Event) -> None:
        if isinstance(event, BlobBegan):
            progress.begin(event.digest, event.size, event.held)
        else:
            progress.advance(event.digest, event.held)

    return listen
