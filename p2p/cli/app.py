"""The group ``remora``, and the edge where errors become one line and an exit code.

Commands are named here and imported when they are called, so that ``remora --help`` stays fast. Other
packages add theirs by the entry-point group ``remora.commands`` (``tracker`` does).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points, version
from typing import Any

import click

from p2p.errors import ConfigError, RemoraError

COMMANDS: dict[str, tuple[str, str]] = {
    "cluster": ("p2p.cli.cluster", "Make what the nodes of a cluster have in common: their key."),
    "copy": ("p2p.cli.copying", "Copy an image from one registry to another, bytes as they are."),
    "demo": ("p2p.cli.demo", "Show a whole network on this host: origin, tracker, four nodes."),
    "doctor": ("p2p.cli.doctor", "Check this host and its configuration, and say what to mend."),
    "explain": ("p2p.cli.explain", "Tell what a running node knows of one digest."),
    "gc": ("p2p.cli.gc", "Delete what nothing refers to any more, now."),
    "inspect": ("p2p.cli.inspecting", "Show what an image is made of, without pulling it."),
    "node": ("p2p.cli.node", "Run a node."),
    "prefetch": ("p2p.cli.prefetch", "Have nodes pull images before they are asked for."),
    "pull": ("p2p.cli.pull", "Pull an image through a node into an OCI layout or a tar of one."),
    "push": ("p2p.cli.push", "Push an OCI layout, or a tar of one, to a registry."),
    "scrub": ("p2p.cli.scrub", "Hash what a running node has stored, now."),
    "search": ("p2p.cli.search", "Find images that a node hosts."),
    "status": ("p2p.cli.status", "Show what a running node is doing."),
}
"""Name → (module with a ``command``, one line of help)."""

ENTRY_POINTS = "remora.commands"


def find_cause(error: BaseException) -> RemoraError | KeyboardInterrupt | None:
    """Give what ended a command, out of any nest of exception groups.

    The first ``RemoraError`` wins; else ``KeyboardInterrupt`` if it is there; None for anything that we
    did not raise on purpose (a bug, which keeps its traceback).
    """
    if isinstance(error, RemoraError | KeyboardInterrupt):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    causes = [find_cause(part) for part in error.exceptions]
    if None in causes:
        return None
    return next((cause for cause in causes if isinstance(cause, RemoraError)), causes[0])


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of our commands and of those that other packages add."""
        del ctx
        return sorted({*COMMANDS, *entry_points(group=ENTRY_POINTS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        del ctx
        if cmd_name in COMMANDS:
            command = import_module(COMMANDS[cmd_name][0]).command
        else:
            found = tuple(entry_points(group=ENTRY_POINTS, name=cmd_name))
            if not found:
                return None
            try:
                command = found[0].load()
            except (ImportError, AttributeError) as error:
                raise ConfigError(
                    f"command {cmd_name}",
                    f"{found[0].value} can't be loaded: {error}",
                    "Reinstall the package that brings it",
                ) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing ours."""
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _summary(self, ctx: click.Context, name: str) -> str:
        if name in COMMANDS:
            return COMMANDS[name][1]
        try:
            command = self.get_command(ctx, name)
        except ConfigError as error:
            return f"({error.cause})"
        return command.get_short_help_str(limit=80) if command else ""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors end as a sentence, an interrupt quietly with 130."""
        try:
            return super().invoke(ctx)
        except (RemoraError, KeyboardInterrupt, BaseExceptionGroup) as error:
            cause = find_cause(error)
            if cause is None:
                raise
            if isinstance(cause, RemoraError):
                click.echo(f"remora: {cause}", err=True)
                ctx.exit(cause.exit_code)
            ctx.exit(130)


def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Print the version and end."""
    if value and not ctx.resilient_parsing:
        click.echo(f"remora {version('remora')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version.",
)
def main() -> None:
    """Remora: a peer-to-peer network that hands out container images, chunk by verified chunk."""
