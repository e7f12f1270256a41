import errno
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from p2p.cli import checks
from p2p.cli.checks import Verdict
from p2p.config import NodeSettings


def settings(tmp_path: Path, **table: object) -> NodeSettings:
    return msgspec.convert({"state": str(tmp_path / "state"), **table}, NodeSettings)


def test_python() -> None:
    assert checks.check_python().verdict is Verdict.GOOD
    assert checks.check_python((3, 10)).mend


def test_hashing_works_here_or_is_noted() -> None:
    assert checks.check_hashing().verdict is not Verdict.BAD


def test_state(tmp_path: Path) -> None:
    state, disk = checks.check_state(settings(tmp_path))
    assert state.verdict is Verdict.GOOD
    assert "can be made" in state.state
    assert "free" in disk.state
    (tmp_path / "state").touch()
    (finding,) = checks.check_state(settings(tmp_path))
    assert finding.verdict is Verdict.BAD
    assert "--state" in finding.mend


def test_a_full_disk(tmp_path: Path) -> None:
    _, disk = checks.check_state(settings(tmp_path, store={"minimum_free": 0.9999}))
    assert disk.verdict is Verdict.BAD
    assert "store.minimum_free" in disk.mend


def test_ports(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        table = {
            "registry": {"listen": address},
            "peer": {"listen": "127.0.0.1:0"},
            "metrics": {"listen": "no.such.host.invalid:0"},
        }
        found = {finding.thing: finding for finding in checks.check_ports(settings(tmp_path, **table))}
        assert found["registry.listen"].verdict is Verdict.BAD
        assert os.strerror(errno.EADDRINUSE) in found["registry.listen"].state
        assert found["peer.listen"].verdict is Verdict.GOOD
        assert found["metrics.listen"].verdict is Verdict.BAD
        # Held by our own node, it is as it should be.
        (tmp_path / "state").mkdir()
        with socket.socket(socket.AF_UNIX) as admin:
            admin.bind(str(tmp_path / "state/admin.sock"))
            admin.listen()
            found = {finding.thing: finding for finding in checks.check_ports(settings(tmp_path, **table))}
        assert found["node"].verdict is found["registry.listen"].verdict is Verdict.GOOD


def test_descriptors_and_clock() -> None:
    assert checks.check_descriptors(1024).verdict is Verdict.NOTE
    assert checks.check_descriptors(65536).verdict is Verdict.GOOD
    assert checks.check_clock(datetime(1970, 1, 1, tzinfo=UTC)).verdict is Verdict.BAD
    assert checks.check_clock().verdict is Verdict.GOOD


def test_docker(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    file = tmp_path / "docker/daemon.json"
    file.parent.mkdir()
    finding = checks.check_docker(ours, file)
    assert finding
    assert "registry-mirrors" in finding.mend
    file.write_text(json.dumps({"registry-mirrors": ["http://localhost:5000/"]}))
    finding = checks.check_docker(ours, file)
    assert finding
    assert finding.verdict is Verdict.GOOD
    file.write_text("{")
    finding = checks.check_docker(ours, file)
    assert finding
    assert "can't be read" in finding.state


@pytest.mark.parametrize("comment", ["", "# "])
def test_containerd_and_podman(tmp_path: Path, comment: str) -> None:
    ours = settings(tmp_path)
    hosts = tmp_path / "containerd/certs.d/docker.io/hosts.toml"
    conf = tmp_path / "containers/registries.conf.d/mirror.conf"
    for file, text in (
        (hosts, '[host."http://127.0.0.1:5000"]'),
        (conf, 'location = "localhost:5000/docker.io"'),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(comment + text)
    expected = Verdict.NOTE if comment else Verdict.GOOD
    for finding in (
        checks.check_containerd(ours, tmp_path / "containerd/certs.d"),
        checks.check_podman(ours, tmp_path / "containers"),
    ):
        assert finding
        assert finding.verdict is expected
        assert bool(finding.mend) is bool(comment)


def test_private_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert checks.check_private(settings(tmp_path)) is None
    upstreams = {"ghcr.io": {"url": "https://ghcr.io", "username": "me", "password": "it"}}
    found = checks.check_private(settings(tmp_path, upstreams=upstreams))
    assert found is not None
    assert "credentials that the upstream accepts" in found.state
    auth = {"rules": [{"repositories": ["**"], "subjects": ["anonymous"]}]}
    shared = {"shared": ["ghcr.io/org/**"]}
    found = checks.check_private(settings(tmp_path, upstreams=upstreams, auth=auth, private=shared))
    assert found is not None
    assert "a rule names" in found.state
    assert "ghcr.io/org/**" in found.state
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{}")
    assert checks.check_private(settings(tmp_path)) is not None
