import base64
import json
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.config import WELL_KNOWN, UpstreamSettings
from p2p.origin.credentials import CACHED, Credential, CredentialSource

SETTINGS = UpstreamSettings(url="https://reg.example:5000")


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".docker").mkdir()
    (tmp_path / "run" / "containers").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
    }


def write(home: Path, config: object, name: str = ".docker/config.json") -> None:
    (home / name).write_text(config if isinstance(config, str) else json.dumps(config))


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def helper(home: Path, name: str, body: str) -> None:
    path = home / "bin" / f"docker-credential-{name}"
    path.write_text(f"#!{sys.executable} -SE\nimport sys\nkey = sys.stdin.read()\n{body}\n")
    path.chmod(0o755)


def source(home: Path, settings: UpstreamSettings = SETTINGS) -> CredentialSource:
    return CredentialSource(settings, environment(home))


async def test_settings_come_first(home):
    write(home, {"auths": {"reg.example:5000": entry("file", "x")}})
    found = await source(home, UpstreamSettings(url="https://r", username="me", password="pw")).get()
    assert found.credential == Credential("me", "pw")


async def test_nothing_anywhere(tmp_path):
    found = await CredentialSource(SETTINGS, {}).get()
    assert found.credential is None
    assert not found.problems
    assert (await source(tmp_path).get()).credential is None


@pytest.mark.parametrize(
    "key",
    ["reg.example:5000", "https://reg.example:5000", "https://reg.example:5000/v2/", "REG.example:5000"],
)
async def test_auths_under_any_spelling(home, key):
    write(home, {"auths": {"other.example": entry("no", "no"), key: entry("u", "p:q")}})
    assert (await source(home).get()).credential == Credential("u", "p:q")


async def test_another_port_is_another_registry(home):
    write(home, {"auths": {"reg.example": entry("u", "p")}})
    assert (await source(home).get()).credential is None


async def test_docker_config_directory(home):
    write(home, {"auths": {"reg.example:5000": entry("home", "p")}})
    (home / "dc").mkdir()
    write(home, {"auths": {"reg.example:5000": {"username": "dc", "password": "p"}}}, "dc/config.json")
    found = await CredentialSource(SETTINGS, {**environment(home), "DOCKER_CONFIG": str(home / "dc")}).get()
    assert found.credential == Credential("dc", "p")


async def test_docker_hub_by_its_key_and_by_podmans(home):
    hub = WELL_KNOWN["docker.io"]
    write(home, {"auths": {"https://index.docker.io/v1/": entry("docker", "p")}})
    assert (await source(home, hub).get()).credential == Credential("docker", "p")
    write(home, {"auths": {}})
    write(home, {"auths": {"docker.io": entry("podman", "p")}}, "run/containers/auth.json")
    assert (await source(home, hub).get()).credential == Credential("podman", "p")
    assert source(home, hub).key == "https://index.docker.io/v1/"


async def test_identity_token(home):
    write(home, {"auths": {"reg.example:5000": {**entry("u", ""), "identitytoken": "refresh-me"}}})
    assert (await source(home).get()).credential == Credential("u", identity_token="refresh-me")


async def test_docker_before_podman(home):
    write(home, {"auths": {"reg.example:5000": entry("docker", "p")}})
    write(home, {"auths": {"reg.example:5000": entry("podman", "p")}}, "run/containers/auth.json")
    found = (await source(home).get()).credential
    assert found is not None
    assert found.username == "docker"


@pytest.mark.slow
async def test_helper_gets_the_key_and_answers(home):
    helper(home, "x-1.y", """print('{"Username": "%s", "Secret": "s3"}' % (key + sys.argv[1]))""")
    write(home, {"credHelpers": {"reg.example:5000": "x-1.y"}, "credsStore": "never"})
    assert (await source(home).get()).credential == Credential("reg.example:5000get", "s3")


@pytest.mark.slow
async def test_store_with_an_identity_token(home):
    helper(home, "store", """print('{"Username": "<token>", "Secret": "idt"}')""")
    write(home, {"credsStore": "store"})
    assert (await source(home).get()).credential == Credential(identity_token="idt")


@pytest.mark.slow
async def test_store_without_it_leaves_it_to_auths(home):
    helper(home, "store", "print('credentials not found in native keychain'); sys.exit(1)")
    write(home, {"credsStore": "store", "auths": {"reg.example:5000": entry("u", "p")}})
    found = await source(home).get()
    assert found.credential == Credential("u", "p")
    assert not found.problems


@pytest.mark.slow
@pytest.mark.parametrize("body", ["sys.exit('locked\\x1b[31m keyring')", "print('{nonsense')", "print('[]')"])
async def test_failing_helper_is_a_problem_and_not_the_end(home, body):
    helper(home, "bad", body)
    write(home, {"credsStore": "bad", "auths": {"reg.example:5000": entry("u", "p")}})
    found = await source(home).get()
    assert found.credential == Credential("u", "p")
    assert "docker-credential-bad" in found.problems[0]
    assert "\x1b" not in found.problems[0]


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "a;b", "", 7, "x\n"])
async def test_helper_names_are_plain(home, name):
    write(home, {"credHelpers": {"reg.example:5000": name}})
    found = await source(home).get()
    assert found.credential is None
    assert "no plain name" in found.problems[0]


async def test_missing_helper(home):
    write(home, {"credsStore": "desktop"})
    found = await source(home).get()
    assert "docker-credential-desktop" in found.problems[0]
    assert "No such file" in found.problems[0]


@pytest.mark.slow
async def test_silent_helper_is_ended(home, monkeypatch):
    monkeypatch.setattr("p2p.origin.credentials.HELPER_TIMEOUT", 0.3)
    helper(home, "slow", "import time; time.sleep(60)")
    write(home, {"credsStore": "slow"})
    with trio.fail_after(5):
        assert "no answer" in (await source(home).get()).problems[0]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": []}', '{"auths": {"reg.example:5000": 3}}', "[" * 100000]
)
async def test_broken_files_raise_nothing(home, text):
    write(home, text)
    write(home, {"auths": {"reg.example:5000": entry("podman", "p")}}, "run/containers/auth.json")
    assert (await source(home).get()).credential == Credential("podman", "p")


@pytest.mark.parametrize(
    "auth", ["???", base64.b64encode(b"nocolon").decode(), base64.b64encode(b"\xff:x").decode()]
)
async def test_broken_entries(home, auth):
    write(home, {"auths": {"reg.example:5000": {"auth": auth}}})
    found = await source(home).get()
    assert found.credential is None
    assert found.problems


async def test_unreadable_file_is_told(home):
    (home / ".docker" / "config.json").mkdir()
    assert "can't be read" in (await source(home).get()).problems[0]


async def test_believed_for_a_minute(home, autojump_clock: trio.testing.MockClock):
    credentials = source(home)
    write(home, {"auths": {"reg.example:5000": entry("u", "1")}})
    first = await credentials.get()
    write(home, {"auths": {"reg.example:5000": entry("u", "2")}})
    assert await credentials.get() == first
    autojump_clock.jump(CACHED)
    assert (await credentials.get()).credential == Credential("u", "2")


def test_secrets_are_not_shown():
    shown = repr(Credential("u", "secret", "secret"))
    assert "secret" not in shown
    assert Credential("u", "p").basic == "Basic dTpw"
