"""Credentials of an upstream, found where Docker and Podman keep them.

In this order: the upstream's own settings; ``config.json`` in ``$DOCKER_CONFIG`` or ``~/.docker``
(``credHelpers`` for the registry, then ``credsStore``, then ``auths``);
``${XDG_RUNTIME_DIR}/containers/auth.json``. A source that can't be read is a problem, not an end: the next
one is tried, public content stays reachable, and the problem is told when the upstream refuses us.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from p2p.config import UpstreamSettings

HELPER_TIMEOUT: Final = 10.0
"""Seconds for one run of a credential helper."""
CACHED: Final = 60.0
"""Seconds that a lookup is believed, found or not."""
_MAX_FILE: Final = 1 << 20
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN_USER: Final = "<token>"  # noqa: S105 (the helpers' protocol: a user of this name marks an identity token)
_NOT_FOUND: Final = "credentials not found"  # what every helper prints; Docker's client matches it too


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name with a password, or an identity token. Never printed whole."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header with these, Basic."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found, and what went wrong on the way: whole clauses for an error's cause."""

    credential: Credential | None = None
    problems: tuple[str, ...] = ()


class OneCredential:
    """The credentials that somebody gave, or none."""

    def __init__(self, credential: Credential | None) -> None:
        self._lookup = Lookup(credential)

    async def get(self) -> Lookup:
        """Give them."""
        return self._lookup


class CredentialSource:
    """Credentials of one upstream. Safe for concurrent use: one lookup at a time, believed for a minute.

    ``environment`` names the places and is given to helpers; by default the process's own.
    """

    def __init__(self, settings: UpstreamSettings, environment: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._environment = dict(os.environ if environment is None else environment)
        self._key = settings.credential_key or _host_of(settings.url)
        self._hosts = {_host_of(self._key)}
        if "index.docker.io" in self._hosts:
            self._hosts.add("docker.io")  # Podman's name for the same
        self._lock = trio.Lock()
        self._cached: Lookup | None = None
        self._until = 0.0

    @property
    def key(self) -> str:
        """The name under which clients store this registry's credentials."""
        return self._key

    async def get(self) -> Lookup:
        """Look everywhere, in order, until one source has credentials. Raises nothing."""
        if self._settings.username:
            return Lookup(Credential(self._settings.username, self._settings.password))
        if self._cached is not None and trio.current_time() < self._until:
            return self._cached  # asked at every request of a client
        async with self._lock:
            if self._cached is None or trio.current_time() >= self._until:
                self._cached = await self._look_up()
                self._until = trio.current_time() + CACHED
            return self._cached

    def likely(self) -> bool:
        """Whether there is any place where credentials could be, for this upstream or another."""
        return bool(self._settings.username) or any(path.exists() for path in self._files())

    async def _look_up(self) -> Lookup:
        problems: list[str] = []
        for path in self._files():
            config = await _read(path, problems)
            if config is None:
                continue
            credential = await self._from_config(config, path, problems)
            if credential is not None:
                return Lookup(credential, tuple(problems))
        return Lookup(None, tuple(problems))

    def _files(self) -> list[Path]:
        found = []
        if directory := self._environment.get("DOCKER_CONFIG"):
            found.append(Path(directory) / "config.json")
        elif home := self._environment.get("HOME"):
            found.append(Path(home) / ".docker" / "config.json")
        if runtime := self._environment.get("XDG_RUNTIME_DIR"):
            found.append(Path(runtime) / "containers" / "auth.json")
        return found

    async def _from_config(
        self, config: Mapping[str, object], path: Path, problems: list[str]
    ) -> Credential | None:
        helpers = config.get("credHelpers")
        if isinstance(helpers, dict):
            for key, name in helpers.items():
                if _host_of(key) in self._hosts:
                    # A helper of this very registry stands in front of the general one (Docker's order).
                    return await self._ask_helper(name, path, problems)
        store = config.get("credsStore")
        if store:
            credential = await self._ask_helper(store, path, problems)
            if credential is not None:
                return credential
        auths = config.get("auths")
        if isinstance(auths, dict):
            for key in sorted(auths, key=lambda key: key != self._key):  # the exact key first
                if _host_of(key) in self._hosts:
                    credential = _from_entry(auths[key], f"the entry {key} of {path}", problems)
                    if credential is not None:
                        return credential
        return None

    async def _ask_helper(self, name: object, path: Path, problems: list[str]) -> Credential | None:
        if not isinstance(name, str) or _HELPER_NAME.fullmatch(name) is None:
            problems.append(f"{path} names a credential helper that is no plain name")
            return None
        program = f"docker-credential-{name}"
        try:
            with trio.fail_after(HELPER_TIMEOUT):
                done = await trio.run_process(
                    [program, "get"],
                    stdin=self._key.encode(),
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                    env=self._environment,
                )
        except trio.TooSlowError:
            problems.append(f"{program} gave no answer within {HELPER_TIMEOUT:.0f} s")
            return None
        except OSError as error:
            problems.append(f"{program}, named by {path}, can't be run ({error.strerror})")
            return None
        return _from_helper(done, program, problems)


def _from_helper(
    done: subprocess.CompletedProcess[bytes], program: str, problems: list[str]
) -> Credential | None:
    if done.returncode != 0:
        said = (done.stdout + b" " + done.stderr).decode(errors="replace").strip()
        if _NOT_FOUND not in said.lower():
            words = " ".join("".join(c if c.isprintable() else " " for c in said).split())
            problems.append(f"{program} failed with status {done.returncode} ({words[:200] or 'silent'})")
        return None
    try:
        answer = json.loads(done.stdout)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, RecursionError, KeyError, TypeError):
        problems.append(f"{program} answered what is not a credential")
        return None
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        return None
    if username == _TOKEN_USER:
        return Credential(identity_token=secret)
    return Credential(username, secret)


def _from_entry(entry: object, where: str, problems: list[str]) -> Credential | None:
    if not isinstance(entry, dict):
        problems.append(f"{where} is no object")
        return None
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    username, password = texts.get("username", ""), texts.get("password", "")
    if auth := texts.get("auth"):
        try:
            decoded = base64.b64decode(auth, validate=True).decode().rstrip("\0")
        except (binascii.Error, ValueError):
            problems.append(f"{where} has an auth that is not base64")
            return None
        username, colon, password = decoded.partition(":")
        if not colon:
            problems.append(f"{where} has an auth without a colon")
            return None
    if token := texts.get("identitytoken"):
        return Credential(username, identity_token=token)
    if username and password:
        return Credential(username, password)
    return None  # an empty entry is what Docker writes when a helper holds the rest


async def _read(path: Path, problems: list[str]) -> Mapping[str, object] | None:
    try:
        async with await trio.open_file(path, "rb") as file:
            data = await file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            problems.append(f"{path} is larger than {_MAX_FILE} bytes")
            return None
        config = json.loads(data)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(f"{path} can't be read ({error.strerror})")
        return None
    except (ValueError, RecursionError):
        problems.append(f"{path} is not JSON")
        return None
    if not isinstance(config, dict):
        problems.append(f"{path} is no JSON object")
        return None
    return config


def _host_of(key: str) -> str:
    """Host and port of a key: clients write them as hosts, URLs, and hosts with a path."""
    text = key if "//" in key else f"//{key}"
    try:
        return urlsplit(text).netloc.rpartition("@")[2].lower()
    except ValueError:
        return key.lower()
