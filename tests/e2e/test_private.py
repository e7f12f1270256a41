"""Private content of an upstream, with real daemons: who proves access gets it, nobody else, and no peer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.support.clients import Containerd, Podman, layout_digest, skopeo_copy, skopeo_push
from tests.support.images import Image, OciLayout, small_layers
from tests.support.nodes import Answer, Node, Tracker, get, pull_image, remora
from tests.support.processes import ProcessFailedError, wait_until
from tests.support.registry_origin import DockerRegistry

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAM = "up.test"
SECRET, OPEN = f"{UPSTREAM}/lab/secret", f"{UPSTREAM}/lab/open"
OWNER = "owner:right"
SIZE = 2_000_000


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


@dataclass(frozen=True, slots=True)
class Images:
    layout: OciLayout
    secret: Image
    open: Image


@pytest.fixture(scope="module")
def images(session_directory: Path) -> Images:
    layout = OciLayout(session_directory / "private-layout")
    secret = layout.image(small_layers(layout, 3, SIZE, seed=91_000), tag="secret")
    return Images(layout, secret, layout.image(small_layers(layout, 3, SIZE, seed=92_000), tag="open"))


@pytest.fixture(scope="module")
def upstream(session_directory: Path, images: Images) -> Iterator[Node]:
    """A registry with passwords, where one repository is for everybody: one of our own nodes."""
    users = session_directory / "private-users"
    words = {"owner": b"right", "node": b"its-own"}
    hashed = {name: bcrypt.hashpw(word, bcrypt.gensalt(4)).decode() for name, word in words.items()}
    users.write_text("".join(f"{name}:{entry}\n" for name, entry in hashed.items()))
    config = session_directory / "private-upstream.toml"
    config.write_text(
        f"""
        [hosting]
        repositories = ["lab/**"]
        [auth]
        htpasswd = "{users}"
        [[auth.rules]]
        repositories = ["lab/**"]
        subjects = ["owner"]
        actions = ["pull", "push"]
        [[auth.rules]]
        repositories = ["lab/**"]
        subjects = ["node"]
        [[auth.rules]]
        repositories = ["lab/open"]
        subjects = ["anonymous"]
        """
    )
    with Node("private-up", session_directory, options=("--config", str(config))) as node:
        for name in ("secret", "open"):
            target = f"{node.registry}/lab/{name}:1"
            skopeo_push(images.layout.root, name, target, options=("--dest-creds", OWNER))
        yield node


@pytest.fixture
def config(directory: Path, upstream: Node) -> Path:
    """What a node needs to read all of the upstream."""
    path = directory / "node.toml"
    path.write_text(
        f"""
        [registry]
        default_upstream = "{UPSTREAM}"
        [upstreams."{UPSTREAM}"]
        url = "http://{upstream.registry}"
        username = "node"
        password = "its-own"
        """
    )
    return path


def node(name: str, directory: Path, config: Path, tracker: Tracker) -> Node:
    return Node(name, directory, tracker=tracker.url, options=("--config", str(config)))


def refused(node: Node, path: str, *, headers: dict[str, str] | None = None) -> list[Answer]:
    """Ask in all three ways, with GET and HEAD; nothing may come of it."""
    before = node.metric("remora_sent_bytes_total", to="clients")
    answers = []
    for place, status in (
        (f"/v2/{UPSTREAM}/lab/secret/{path}", 401),
        (f"/v2/lab/secret/{path}?ns={UPSTREAM}", 404),
        (f"/v2/lab/secret/{path}", 404),
    ):
        for method in ("GET", "HEAD"):
            answer = get(node.registry, place, method=method, headers=headers)
            assert answer.status == status, (method, place, answer)
            del answer.headers["date"]
            answers.append(answer)
    assert node.metric("remora_sent_bytes_total", to="clients") == before
    return answers


def test_a_private_image_is_for_those_who_prove_it_and_for_no_peer(
    directory: Path, images: Images, upstream: Node, config: Path
) -> None:
    layer = next(b for b in images.secret.blobs if b.diff_id)
    with Tracker(directory) as tracker, node("a", directory, config, tracker) as a:
        # Nobody without proof starts as much as a download.
        refused(a, "manifests/1")
        assert a.received() == 0
        copied = skopeo_copy(f"{a.registry}/{SECRET}:1", directory / "copy", user=OWNER)
        assert layout_digest(copied) == images.secret.digest
        assert a.received("origin") >= images.secret.size

        # Now that it is all here nothing changes for those who prove nothing.
        missing = "sha256:" + "0" * 64
        for headers in (None, basic("owner:wrong"), basic("node:wrong"), {"Authorization": "Bearer x"}):
            for there, absent in (
                ("manifests/1", "manifests/none"),
                (f"manifests/{images.secret.digest}", f"manifests/{missing}"),
                (f"blobs/{layer.digest}", f"blobs/{missing}"),
            ):
                assert refused(a, there, headers=headers) == refused(a, absent, headers=headers)
        assert a.metric("remora_private_refused_total") > 0
        with pytest.raises(ProcessFailedError):
            skopeo_copy(f"{a.registry}/{SECRET}:1", directory / "not", user="owner:wrong")
        assert get(a.registry, f"/v2/{SECRET}/blobs/{layer.digest}", headers=basic(OWNER)).status == 200

        # The second node gets it from the upstream, though the first one has all; not so what is public.
        with node("b", directory, config, tracker) as b:
            copied = skopeo_copy(f"{b.registry}/{SECRET}:1", directory / "again", user=OWNER)
            assert layout_digest(copied) == images.secret.digest
            assert (b.received("peers"), b.received("origin")) == (0, a.received("origin"))
            assert a.metric("remora_sent_bytes_total", to="peers") == 0
            for each in (a, b):
                assert get(each.peer, f"/p2p/v1/blobs/{layer.digest}").status == 404
                assert each.metric("remora_private_withheld_total") == 1
                assert each.metric("remora_private_digests") == len(images.secret.blobs) + 1
            assert pull_image(a.registry, OPEN, "1") == images.open.digest
            public = next(b for b in images.open.blobs if b.diff_id)
            wait_until(
                "its announcement", lambda: get(a.peer, f"/p2p/v1/blobs/{public.digest}").status == 200
            )
            before = b.received("origin")
            assert pull_image(b.registry, OPEN, "1") == images.open.digest
            # All of it, but for what the tracker may not have heard of yet on a busy machine.
            assert b.received("peers") > SIZE
            assert b.received("origin") - before < SIZE

        told = remora("explain", layer.digest, "--state", a.state).stdout
        assert "private: origin only" in told
        a.stop()
        # And so after a restart, before anybody has asked.
        a.start()
        assert get(a.peer, f"/p2p/v1/blobs/{layer.digest}").status == 404
        assert get(a.peer, f"/p2p/v1/blobs/{public.digest}").status == 200
        refused(a, f"blobs/{layer.digest}")
        assert get(a.registry, f"/v2/{SECRET}/blobs/{layer.digest}", headers=basic(OWNER)).status == 200
        said = [one for one in a.logs() if str(one.get("event", "")).startswith("repository is private")]
        assert [one["repository"] for one in said] == [SECRET]
        assert "right" not in (text := a.errors() + a.out.read_text())
        assert basic(OWNER)["Authorization"] not in text


def test_containerd_with_credentials(
    session_directory: Path, directory: Path, images: Images, config: Path
) -> None:
    with (
        Tracker(directory) as tracker,
        node("c", directory, config, tracker) as node_c,
        Containerd(session_directory, name="private-containerd") as containerd,
    ):
        # As what it is, a registry of many: asked for credentials, containerd gives them.
        containerd.mirror(node_c.registry, node_c.registry)
        image = f"{node_c.registry}/{SECRET}:1"
        with pytest.raises(ProcessFailedError, match="401"):
            containerd.pull(image)
        assert containerd.pull(image, user=OWNER) == images.secret.digest
        # As a mirror: it is refused as by one that has nothing, and goes on to the upstream (here: dead).
        containerd.mirror(UPSTREAM, node_c.registry)
        with pytest.raises(ProcessFailedError, match="connection refused"):
            containerd.pull(f"{UPSTREAM}/lab/secret:1")
        assert containerd.pull(f"{UPSTREAM}/lab/open:1") == images.open.digest


def test_podman_and_our_own_command_with_credentials(
    directory: Path, images: Images, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tracker(directory) as tracker, node("p", directory, config, tracker) as p:
        podman = Podman(directory, mirrors={p.registry: p.registry})
        image = f"{p.registry}/{SECRET}:1"
        for user in ("", "owner:wrong"):
            with pytest.raises(ProcessFailedError, match="private"):
                podman.pull(image, user=user)
        assert podman.pull(image, user=OWNER) == images.secret.digest

        command = ("pull", f"{SECRET}:1", "--node", f"http://{p.registry}", "--output", directory / "pulled")
        monkeypatch.setenv("DOCKER_CONFIG", str(directory))
        assert "private at its upstream" in remora(*command, check=False).stderr
        stored = {"auths": {UPSTREAM: {"auth": base64.b64encode(OWNER.encode()).decode()}}}
        (directory / "config.json").write_text(json.dumps(stored))
        remora(*command)
        assert layout_digest(directory / "pulled") == images.secret.digest


def test_shared_by_the_operator(directory: Path, images: Images, config: Path) -> None:
    config.write_text(config.read_text() + f'[private]\nshared = ["{UPSTREAM}/lab/**"]\n')
    with Tracker(directory) as tracker, node("d", directory, config, tracker) as d:
        assert pull_image(d.registry, SECRET, "1") == images.secret.digest
        layer = next(b for b in images.secret.blobs if b.diff_id)
        assert get(d.peer, f"/p2p/v1/blobs/{layer.digest}").status == 404


def test_a_docker_registry_with_passwords(directory: Path, images: Images) -> None:
    """All of it is private; its token flow is none, and it has Basic alone."""
    with DockerRegistry(directory, users={"owner": "right", "node": "its-own"}) as registry:
        target = f"{registry.address}/lab/secret:1"
        skopeo_push(images.layout.root, "secret", target, options=("--dest-creds", OWNER))
        config = directory / "node.toml"
        config.write_text(
            f"""
            [upstreams."{UPSTREAM}"]
            url = "http://{registry.address}"
            username = "node"
            password = "its-own"
            """
        )
        with Tracker(directory) as tracker, node("e", directory, config, tracker) as e:
            path = f"/v2/{SECRET}/manifests/1"
            assert get(e.registry, path).status == 401
            assert get(e.registry, path, headers=basic("owner:wrong")).status == 401
            assert get(e.registry, path, headers=basic(OWNER)).status == 200
            copied = skopeo_copy(f"{e.registry}/{SECRET}:1", directory / "copy", user=OWNER)
            assert layout_digest(copied) == images.secret.digest

            # The upstream is away: who has shown access is given what is here, for minutes.
            registry.stop()
            blob = f"/v2/{SECRET}/blobs/{images.secret.blobs[0].digest}"
            assert get(e.registry, blob, headers=basic(OWNER)).status == 200
            absent = get(e.registry, f"/v2/{SECRET}/blobs/sha256:{'0' * 64}", headers=basic(OWNER))
            assert absent.status == 502
            e.stop()
            # After a restart nobody can be asked; what the operator shares is there all the same.
            e.start()
            assert get(e.registry, blob, headers=basic(OWNER)).status == 401
            e.stop()
            config.write_text(config.read_text() + f'[private]\nshared = ["{UPSTREAM}/**"]\n')
            e.start()
            assert pull_image(e.registry, SECRET, "1") == images.secret.digest
            assert e.received() == 0
            assert get(e.peer, f"/p2p/v1/blobs/{images.secret.blobs[0].digest}").status == 404
