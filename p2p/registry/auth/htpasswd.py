"""Users and passwords in an htpasswd file, bcrypt alone (RFC 7617, "Basic")."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import bcrypt
import structlog
import trio

from p2p.errors import ConfigError
from p2p.net.file_watch import FileWatch
from p2p.registry.auth.api import ANONYMOUS, Principal
from p2p.registry.auth.basic import parse_basic
from p2p.registry.auth.chain import quoted
from p2p.registry.flights import Flights

if TYPE_CHECKING:
    from pathlib import Path

MAX_COST: Final = 15
"""Each step doubles the time; this is about three seconds a login."""

CACHED: Final = 1024
CACHE_SECONDS: Final = 300.0
THREADS: Final = 2
"""Passwords that are hashed at the same time: a flood of guesses must leave processors for pulls."""

_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_BCRYPT_BYTES: Final = 72
_MEND: Final = "Make the entry with: htpasswd -B FILE USER"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Passwords:
    """What a file says: bcrypt hashes by user.

    ``decoy`` is what unknown users' passwords are checked against, as costly as the costliest entry; the
    hash of no known password.
    """

    hashes: Mapping[str, bytes] = field(default_factory=dict)
    decoy: bytes = b""


def parse_htpasswd(text: str, source: str) -> Passwords:
    """Read a file's text; ConfigError names ``source`` and the line."""
    hashes: dict[str, bytes] = {}
    highest = 4
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        where = f"{source}, line {number}"
        user, colon, hashed = entry.partition(":")
        if not colon or not user:
            raise ConfigError(where, "is not of the form user:hash", _MEND)
        match = _BCRYPT.fullmatch(hashed)
        if match is None:
            raise ConfigError(where, f"the password of {user!r} is not hashed with bcrypt", _MEND)
        cost = int(match[1])
        if not 4 <= cost <= MAX_COST:
            raise ConfigError(where, f"bcrypt cost {cost} is out of range", f"Use 4 to {MAX_COST}; -C 10")
        if user in hashes:
            raise ConfigError(where, f"user {user!r} is there twice", "Remove one of the lines")
        hashes[user] = hashed.encode("ascii")
        highest = max(highest, cost)
    return Passwords(hashes, bcrypt.gensalt(highest) + b"." * 31)


class HtpasswdAuthenticator:
    """Checks Basic credentials against a file, which is read again when it changes.

    A file that can't be used stops the start (ConfigError); later the entries before the change stay in
    force, and the log says so. What was right is remembered for ``CACHE_SECONDS``, under a keyed hash that
    also covers the file's entry: a changed password counts at once. An unknown user costs what a wrong
    password costs, so that the time tells nothing about who is known.
    """

    def __init__(self, path: Path, realm: str = "remora") -> None:
        self._path = path
        self._challenge = f'Basic realm={quoted("auth.service", realm)}, charset="UTF-8"'
        self._watch = FileWatch(path)
        self._watch.changed()
        self._passwords = self._read()
        self._key = secrets.token_bytes(32)
        self._proven: OrderedDict[bytes, float] = OrderedDict()
        self._flights: Flights[bool] = Flights()
        self._threads = trio.CapacityLimiter(THREADS)

    async def authenticate(self, authorization: str) -> Principal | None:
        """Say whose user name and password these are. Empty ones are what some clients send for none."""
        credentials = parse_basic(authorization)
        if credentials is None:
            return None
        user, password = credentials
        if not user and not password:
            return ANONYMOUS
        self._refresh()
        known = self._passwords.hashes.get(user)
        hashed = self._passwords.decoy if known is None else known
        proof = self._proof(user, password, hashed)
        if self._remembered(proof):
            return Principal(user)
        # A runtime's first requests come at once: one of them pays for all.
        right = await self._flights.ask(proof, lambda: self._check(password, hashed))
        if not right or known is None:
            return None
        self._remember(proof)
        return Principal(user)

    def challenges(self, scope: str, error: str = "") -> tuple[str, ...]:
        """Ask for a user name and a password."""
        del scope, error
        return (self._challenge,)

    async def _check(self, password: bytes, hashed: bytes) -> bool:
        return await trio.to_thread.run_sync(check_password, password, hashed, limiter=self._threads)

    def _read(self) -> Passwords:
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"auth.htpasswd {self._path}", f"can't be read: {error}", _MEND) from error
        return parse_htpasswd(text, str(self._path))

    def _refresh(self) -> None:
        if not self._watch.changed():
            return
        try:
            self._passwords = self._read()
        except ConfigError as error:
            log.warning("htpasswd not reloaded: the entries before stay in force", cause=str(error))
        else:
            log.info("htpasswd reloaded", file=str(self._path), users=len(self._passwords.hashes))

    def _proof(self, user: str, password: bytes, hashed: bytes) -> bytes:
        name = user.encode()
        message = b"%d:%b%d:%b%b" % (len(name), name, len(password), password, hashed)
        return hmac.digest(self._key, message, hashlib.sha256)

    def _remembered(self, proof: bytes) -> bool:
        until = self._proven.get(proof)
        if until is None:
            return False
        if trio.current_time() >= until:
            del self._proven[proof]
            return False
        return True

    def _remember(self, proof: bytes) -> None:
        self._proven[proof] = trio.current_time() + CACHE_SECONDS
        self._proven.move_to_end(proof)
        while len(self._proven) > CACHED:
            self._proven.popitem(last=False)


def check_password(password: bytes, hashed: bytes) -> bool:
    """Whether a password has this bcrypt hash. Slow on purpose: run it in a thread.

    bcrypt looks at 72 bytes and ``htpasswd`` cuts there. With a NUL byte no password can be right, and it
    takes as long to say so.
    """
    usable = b"\0" not in password
    return bcrypt.checkpw(password[:_BCRYPT_BYTES] if usable else b"", hashed) and usable
