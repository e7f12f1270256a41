import subprocess
import sys

import click
import pytest
import trio
from click.testing import CliRunner

from p2p.cli.app import COMMANDS, find_cause, main
from p2p.errors import ConfigError, LocalError


def failing(error: BaseException) -> click.Command:
    @click.command("fail")
    def command() -> None:
        async def task() -> None:
            raise error

        async def run() -> None:
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                inner.start_soon(task)
                outer.start_soon(trio.lowlevel.checkpoint)

        trio.run(run)

    return command


def test_help_and_version() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in (*COMMANDS, "tracker"):
        assert name in result.stdout
    assert CliRunner().invoke(main, ["--version"]).stdout.startswith("remora 0.")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"main {name}" in result.stdout


def test_an_unknown_command() -> None:
    result = CliRunner().invoke(main, ["nodee"])
    assert result.exit_code == 2
    assert "nodee" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LocalError("port 5000", "taken", "Choose another"), 1, "remora: port 5000: taken. Choose another\n"),
        (ConfigError("x", "wrong"), 2, "remora: x: wrong\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_one_line_out_of_any_nest(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(main.commands, "fail", failing(error))
    monkeypatch.setattr(type(main), "get_command", click.Group.get_command)
    result = CliRunner().invoke(main, ["fail"])
    assert (result.exit_code, result.stderr) == (code, line)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.commands, "fail", failing(ZeroDivisionError()))
    monkeypatch.setattr(type(main), "get_command", click.Group.get_command)
    assert isinstance(CliRunner().invoke(main, ["fail"]).exception, BaseExceptionGroup)


def test_find_cause() -> None:
    ours, other = LocalError("a", "b"), ValueError()
    assert find_cause(ours) is ours
    assert find_cause(other) is None
    assert find_cause(BaseExceptionGroup("", [KeyboardInterrupt(), ExceptionGroup("", [ours])])) is ours
    assert find_cause(ExceptionGroup("", [ours, other])) is None


def test_a_command_of_another_package_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    broken = EntryPoints([EntryPoint("broken", "no_such_package:command", "remora.commands")])
    monkeypatch.setattr("p2p.cli.app.entry_points", lambda **found: broken.select(**found))
    result = CliRunner().invoke(main, ["broken"])
    assert result.exit_code == 1 + 1
    assert "command broken: no_such_package:command can't be loaded" in result.stderr
    assert "can't be loaded" in CliRunner().invoke(main, ["--help"]).stdout


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    code = "import sys, p2p.cli; print(sorted({'trio', 'httpx', 'rich', 'msgspec'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
