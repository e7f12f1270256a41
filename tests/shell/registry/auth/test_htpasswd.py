from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import bcrypt
import pytest
import structlog.testing
import trio
import trio.testing

from p2p.errors import ConfigError
from p2p.registry.auth import htpasswd
from p2p.registry.auth.api import ANONYMOUS, Principal
from p2p.registry.auth.htpasswd import (
    CACHE_SECONDS,
    CACHED,
    HtpasswdAuthenticator,
    check_password,
    parse_htpasswd,
)
from tests.support.auth_rig import basic

if TYPE_CHECKING:
    from pathlib import Path


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


ALICE = f"alice:{hashed('secret')}\n"
BOB = f"bob:{hashed('hidden')}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(ALICE + BOB)
    return path


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that passwords were checked against, in order."""
    seen: list[bytes] = []

    def counting(password: bytes, against: bytes) -> bool:
        seen.append(against)
        return check_password(password, against)

    monkeypatch.setattr(htpasswd, "check_password", counting)
    return seen


def change(file: Path, text: str | None) -> None:
    """Write the file anew, or remove it."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


def test_reading() -> None:
    text = f"# users\n\n{ALICE}  {BOB}\r\n"
    passwords = parse_htpasswd(text, "f")
    assert sorted(passwords.hashes) == ["alice", "bob"]
    assert check_password(b"secret", passwords.hashes["alice"])


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("alice", "user:hash"),
        (":" + hashed("x"), "user:hash"),
        ("alice:secret", "not hashed with bcrypt"),
        ("alice:$apr1$8MpTPzd4$zy1z5zVC0lJ9h6Fm7cB3n/", "not hashed with bcrypt"),
        ("alice:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "not hashed with bcrypt"),
        ("alice:$2y$10$tooshort", "not hashed with bcrypt"),
        ("alice:" + hashed("x") + "x", "not hashed with bcrypt"),
        ("alice:$2y$31$" + "a" * 53, "cost 31 is out of range"),
        ("alice:$2y$03$" + "a" * 53, "cost 3 is out of range"),
        (ALICE + ALICE, "twice"),
    ],
)
def test_entries_that_are_refused(line: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=rf"/etc/users, line [34].*{cause}.*") as caught:
        parse_htpasswd(f"# comment\n{BOB}{line}\n", "/etc/users")
    assert "secret" not in str(caught.value), "a password must not be told"


def test_the_decoy_costs_as_much_as_the_costliest() -> None:
    passwords = parse_htpasswd(f"a:{hashed('x', 4)}\nb:{hashed('x', 6)}\n", "f")
    assert passwords.decoy.startswith(b"$2b$06$")
    assert not check_password(b"", passwords.decoy)
    assert not check_password(b"x", passwords.decoy)


def test_long_passwords_are_cut_as_htpasswd_cuts_them() -> None:
    entry = hashed("x" * 72).encode()
    assert check_password(b"x" * 100, entry)
    assert not check_password(b"x" * 71, entry)
    assert not check_password(b"\0", hashed("").encode()), "a NUL byte"


async def test_who_is_let_in(file: Path) -> None:
    users = HtpasswdAuthenticator(file)
    assert await users.authenticate(basic("alice", "secret")) == Principal("alice")
    assert await users.authenticate(basic("bob", "hidden")) == Principal("bob")
    assert await users.authenticate(basic("", "")) == ANONYMOUS
    for user, password in (
        ("alice", "hidden"),
        ("alice", ""),
        ("eve", "secret"),
        ("", "secret"),
        ("ALICE", "secret"),
    ):
        assert await users.authenticate(basic(user, password)) is None, user
    assert await users.authenticate("Bearer x") is None
    assert users.challenges("repository:a:pull") == ('Basic realm="remora", charset="UTF-8"',)


async def test_an_unknown_user_costs_a_check_too(file: Path, checks: list[bytes]) -> None:
    users = HtpasswdAuthenticator(file)
    assert await users.authenticate(basic("eve", "secret")) is None
    assert await users.authenticate(basic("eve", "secret")) is None
    assert await users.authenticate(basic("alice", "wrong")) is None
    assert await users.authenticate(basic("alice", "wrong")) is None
    assert len(checks) == 4, "failures are never remembered, of the known as little as of the unknown"
    costs = {check[:7] for check in checks}
    assert costs == {b"$2b$04$"}


async def test_the_right_decoy_password_lets_nobody_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "check_password", lambda password, against: True)
    users = HtpasswdAuthenticator(file)
    assert await users.authenticate(basic("eve", "x")) is None
    assert await users.authenticate(basic("eve", "x")) is None


async def test_what_was_right_is_remembered_for_a_while(
    file: Path, checks: list[bytes], mock_clock: trio.testing.MockClock
) -> None:
    users = HtpasswdAuthenticator(file)
    for _ in range(3):
        assert await users.authenticate(basic("alice", "secret")) is not None
    assert len(checks) == 1
    assert await users.authenticate(basic("alice", "secret2")) is None
    assert len(checks) == 2
    mock_clock.jump(CACHE_SECONDS)
    assert await users.authenticate(basic("alice", "secret")) is not None
    assert len(checks) == 3


async def test_those_who_come_at_once_share_one_check(file: Path, checks: list[bytes]) -> None:
    users = HtpasswdAuthenticator(file)
    found: list[Principal | None] = []

    async def ask(password: str) -> None:
        found.append(await users.authenticate(basic("alice", password)))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, "secret" if number % 2 else "wrong")
    assert found.count(Principal("alice")) == found.count(None) == 5
    assert len(checks) == 2


async def test_memory_is_bounded(file: Path, checks: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "CACHED", 2)
    assert CACHED > 2
    change(file, "".join(f"u{n}:{hashed('x')}\n" for n in range(3)))
    users = HtpasswdAuthenticator(file)
    for number in (0, 1, 2, 2, 1, 0):
        assert await users.authenticate(basic(f"u{number}", "x")) is not None
    assert len(checks) == 4, "the oldest is forgotten"


async def test_a_changed_file_counts_at_once(file: Path) -> None:
    users = HtpasswdAuthenticator(file)
    assert await users.authenticate(basic("alice", "secret")) is not None
    change(file, f"alice:{hashed('changed')}\ncarol:{hashed('new')}\n")
    assert await users.authenticate(basic("alice", "secret")) is None, "though it was remembered"
    assert await users.authenticate(basic("alice", "changed")) is not None
    assert await users.authenticate(basic("carol", "new")) is not None
    assert await users.authenticate(basic("bob", "hidden")) is None


async def test_a_change_that_can_t_be_used_leaves_the_old(file: Path) -> None:
    users = HtpasswdAuthenticator(file)
    with structlog.testing.capture_logs() as logs:
        change(file, "alice:plain\n")
        for _ in range(2):
            assert await users.authenticate(basic("alice", "secret")) is not None
        change(file, None)
        assert await users.authenticate(basic("alice", "secret")) is not None
    assert [entry["event"] for entry in logs] == [
        "htpasswd not reloaded: the entries before stay in force"
    ] * 2
    assert "line 1" in logs[0]["cause"]


@pytest.mark.parametrize("content", [None, b"alice:plain\n", b"\xff\n"])
def test_a_start_with_a_bad_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="users"):
        HtpasswdAuthenticator(path)


def test_a_realm_that_can_t_be_quoted(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.service"):
        HtpasswdAuthenticator(file, 'a"b')


@pytest.mark.slow
async def test_the_hash_is_made_in_a_thread(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"alice:{hashed('secret', 10)}\n")
    users = HtpasswdAuthenticator(file)
    turns = 0
    done = trio.Event()

    async def others() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        assert await users.authenticate(basic("alice", "secret")) is not None
        done.set()
    assert turns > 10


@pytest.mark.slow
async def test_a_real_htpasswd(tmp_path: Path) -> None:
    """What Apache's program writes is read (``$2y$``); it is the fixed output of one where there is none."""
    file = tmp_path / "users"
    program = shutil.which("htpasswd")
    if program:
        await trio.run_process(
            [program, "-cBb", "-C", "5", str(file), "alice", "secret"], stderr=subprocess.DEVNULL
        )
    else:
        file.write_text(ALICE.replace("$2b$", "$2y$"))
    assert b"$2y$" in file.read_bytes()
    assert await HtpasswdAuthenticator(file).authenticate(basic("alice", "secret")) == Principal("alice")
