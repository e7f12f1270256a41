"""The real clients, each with roots, sockets and configuration of its own in a test's directory.

A Unix socket's path is limited to 107 bytes: that directory must be short.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.processes import Process, program, run

if TYPE_CHECKING:
    from pathlib import Path

ACCEPT_ANYTHING = '{"default":[{"type":"insecureAcceptAnything"}]}'


class Dockerd(Process):
    """A dockerd with its own containerd, without a bridge and without iptables."""

    def __init__(self, directory: Path, *, name: str = "dockerd", mirrors: tuple[str, ...] = ()) -> None:
        home = directory / name
        home.mkdir(parents=True, exist_ok=True)
        self.socket = directory / f"{name}.sock"
        config = home / "daemon.json"
        config.write_text(json.dumps({"registry-mirrors": [f"http://{m}" for m in mirrors]}))
        argv = [
            *("dockerd", "--config-file", config, "--data-root", home / "data", "--exec-root", home / "exec"),
            *("--pidfile", home / "pid", "--host", f"unix://{self.socket}", "--storage-driver", "vfs"),
            *("--iptables=false", "--ip6tables=false", "--bridge=none", "--max-download-attempts=2"),
        ]
        super().__init__(name, argv, directory)
        self.said = ""
        self._client_config = home / "client"

    def wait_ready(self) -> None:
        """Wait until it answers ``docker version``."""
        self.wait_for("its socket", lambda: self.socket.exists() and self._answers(), timeout=60)

    def _answers(self) -> bool:
        return run([*self._docker(), "version"], check=False).returncode == 0

    def pull(self, image: str, *, platform: str = "") -> str:
        """Pull and return the digest that dockerd prints and keeps in ``RepoDigests``."""
        options = ["--platform", platform] if platform else []
        said = run([*self._docker(), "pull", *options, image], timeout=240).stdout
        inspected = json.loads(run([*self._docker(), "image", "inspect", image]).stdout)[0]
        kept = {d.partition("@")[2] for d in inspected["RepoDigests"]}
        (digest,) = (line.split()[1] for line in said.splitlines() if line.startswith("Digest:"))
        assert digest in kept, (digest, kept)
        return digest

    def push(self, image: str, target: str) -> str:
        """Tag an image as ``target``, push that, and return the digest that dockerd says the registry has.

        ``said`` is what it printed: ``Pushed`` or ``Mounted from`` for each layer.
        """
        run([*self._docker(), "tag", image, target])
        self.said = run([*self._docker(), "push", target], timeout=240).stdout
        lines = self.said.splitlines()
        (digest,) = (line.split("digest: ")[1].split()[0] for line in lines if "digest: " in line)
        return digest

    def remove(self, image: str) -> None:
        """Remove an image, so that the next pull starts anew."""
        run([*self._docker(), "image", "rm", "--force", image])

    def diff_ids(self, image: str) -> list[str]:
        """The digests of the unpacked layers, which dockerd computed itself."""
        inspected = json.loads(run([*self._docker(), "image", "inspect", image]).stdout)[0]
        return list(inspected["RootFS"]["Layers"])

    def _docker(self) -> list[str]:
        return ["docker", "--config", str(self._client_config), "--host", f"unix://{self.socket}"]


class Containerd(Process):
    """A containerd of its own; pulls use the native snapshotter, which every filesystem has."""

    def __init__(self, directory: Path, *, name: str = "containerd") -> None:
        home = directory / name
        home.mkdir(parents=True, exist_ok=True)
        self.hosts = home / "hosts"
        self.socket = directory / f"{name}.sock"
        config = home / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{home}/root"\nstate = "{home}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper",'
            ' "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\naddress = "{self.socket}"\n[ttrpc]\naddress = "{self.socket}.ttrpc"\n'
        )
        super().__init__(name, ["containerd", "--config", config], directory)

    def wait_ready(self) -> None:
        """Wait until it answers ``ctr version``."""
        self.wait_for(
            "its socket", lambda: self.socket.exists() and self._ctr("version", check=False), timeout=60
        )

    def mirror(self, host: str, address: str) -> None:
        """Write ``hosts.toml``: pulls of ``host`` go to ``address``; the server behind it is dead."""
        directory = self.hosts / host
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts.toml").write_text(
            'server = "http://127.0.0.1:1"\n'
            f'[host."http://{address}"]\n  capabilities = ["pull", "resolve"]\n'
        )

    def pull(self, image: str, *, all_platforms: bool = False, user: str = "") -> str:
        """Pull and return the digest of the image record; ``user`` is ``name:password``."""
        options = ["--all-platforms"] if all_platforms else []
        options += ["--user", user] if user else []
        self._ctr(
            *("images", "pull", "--hosts-dir", str(self.hosts), "--snapshotter", "native"), *options, image
        )
        for line in self._ctr("images", "ls", f"name=={image}").splitlines()[1:]:
            return line.split()[2]
        raise AssertionError(f"{image} is not in ctr images ls")

    def digests(self) -> set[str]:
        """Digests of everything in the content store."""
        return set(self._ctr("content", "ls", "--quiet").split())

    def remove(self, image: str) -> None:
        """Remove an image and what only it needs."""
        self._ctr("images", "rm", "--sync", image)

    def _ctr(self, *args: str, check: bool = True) -> str:
        argv = ["ctr", "--address", str(self.socket), *args]
        done = run(argv, check=check, timeout=240)
        return done.stdout if done.returncode == 0 else ""


class Podman:
    """podman with its own storage and registries.conf: no daemon."""

    def __init__(self, directory: Path, *, mirrors: dict[str, str]) -> None:
        self.home = directory / "podman"
        self.home.mkdir(parents=True, exist_ok=True)
        registries = self.home / "registries.conf"
        registries.write_text(
            "unqualified-search-registries = []\n"
            + "".join(
                f'[[registry]]\nlocation = "{host}"\n'
                f'[[registry.mirror]]\nlocation = "{mirror}"\ninsecure = true\n'
                for host, mirror in mirrors.items()
            )
        )
        self.policy = self.home / "policy.json"
        self.policy.write_text(ACCEPT_ANYTHING)
        self._env = {
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "CONTAINERS_STORAGE_CONF": str(self._storage_conf()),
            "REGISTRY_AUTH_FILE": str(self.home / "auth.json"),
            "TMPDIR": str(self.home),
        }
        (self.home / "auth.json").write_text("{}")

    def pull(self, image: str, *, architecture: str = "", user: str = "") -> str:
        """Pull and return the digest that podman stored; ``user`` is ``name:password``."""
        options = ["--arch", architecture] if architecture else []
        options += ["--creds", user] if user else []
        self._podman("pull", "--quiet", "--signature-policy", str(self.policy), *options, image)
        return str(self.inspect(image)["Digest"])

    def push(self, image: str, target: str) -> str:
        """Push an image as ``target`` and return the digest of what was pushed."""
        file = self.home / "digest"
        self._podman("push", "--tls-verify=false", "--digestfile", str(file), image, f"docker://{target}")
        return file.read_text().strip()

    def inspect(self, image: str) -> dict[str, Any]:
        """Give podman's record of an image."""
        return dict(json.loads(self._podman("image", "inspect", image))[0])

    def remove(self, image: str) -> None:
        """Remove an image."""
        self._podman("rmi", "--force", image)

    def _storage_conf(self) -> Path:
        path = self.home / "storage.conf"
        path.write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "{self.home}/run"\ngraphroot = "{self.home}/graph"\n'
        )
        return path

    def _podman(self, *args: str) -> str:
        argv = ["podman", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args]
        return run(argv, env=self._env, timeout=240).stdout


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "buildah"
        self.home.mkdir(parents=True, exist_ok=True)
        self._policy = self.home / "policy.json"
        self._policy.write_text(ACCEPT_ANYTHING)
        (self.home / "auth.json").write_text("{}")
        self._env = {"REGISTRY_AUTH_FILE": str(self.home / "auth.json"), "TMPDIR": str(self.home)}

    def build(self, name: str, file: Path) -> None:
        """Commit an image that holds one file."""
        container = self._buildah("from", "scratch").strip()
        self._buildah("copy", container, str(file), "/")
        self._buildah("config", "--cmd", "/none", container)
        self._buildah("commit", "--format", "oci", "--signature-policy", str(self._policy), container, name)

    def push(self, name: str, target: str, *, compression: str) -> str:
        """Push an image with its layers compressed as told, and return the digest of what was pushed."""
        file = self.home / "digest"
        self._buildah(
            *("push", "--tls-verify=false", "--signature-policy", str(self._policy), "--format", "oci"),
            *("--compression-format", compression, "--digestfile", str(file), name, f"docker://{target}"),
        )
        return file.read_text().strip()

    def _buildah(self, *args: str) -> str:
        storage = ["--root", self.home / "graph", "--runroot", self.home / "run", "--storage-driver", "vfs"]
        return run(["buildah", *storage, *args], env=self._env, timeout=240).stdout


def skopeo_copy(
    source: str,
    layout: Path,
    *,
    everything: bool = False,
    tag: str = "1",
    user: str = "",
) -> Path:
    """Copy ``source`` (``127.0.0.1:PORT/name:tag``) into an OCI layout, byte for byte."""
    layout.parent.mkdir(parents=True, exist_ok=True)
    policy = layout.parent / f"{layout.name}-policy.json"
    policy.write_text(ACCEPT_ANYTHING)
    options = ["--all"] if everything else []
    options += ["--src-creds", user] if user else []
    run(
        [
            *("skopeo", "--policy", policy, "--tmpdir", layout.parent, "copy", *options),
            *("--preserve-digests", "--src-tls-verify=false"),
            *(f"docker://{source}", f"oci:{layout}:{tag}"),
        ],
        timeout=240,
    )
    return layout


def skopeo_push_docker(layout: Path, tag: str, target: str) -> None:
    """Push an image of an OCI layout as Docker schema 2 (``--format v2s2``)."""
    policy = layout.parent / f"{layout.name}-push-policy.json"
    policy.write_text(ACCEPT_ANYTHING)
    run(
        [
            *("skopeo", "--policy", policy, "copy", "--format", "v2s2", "--dest-tls-verify=false"),
            *(f"oci:{layout}:{tag}", f"docker://{target}"),
        ]
    )


def skopeo_push(layout: Path, tag: str, target: str, *, options: tuple[str, ...] = ()) -> None:
    """Push an image of an OCI layout as it is, all of an index."""
    policy = layout.parent / f"{layout.name}-push-policy.json"
    policy.write_text(ACCEPT_ANYTHING)
    run(
        [
            *("skopeo", "--policy", policy, "--tmpdir", layout.parent, "copy", "--all", "--preserve-digests"),
            *("--dest-tls-verify=false", *options, f"oci:{layout}:{tag}", f"docker://{target}"),
        ],
        timeout=240,
    )


def layout_digest(layout: Path) -> str:
    """The digest that an OCI layout's index names."""
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return str(entry["digest"])


def require_all() -> None:
    """Find every client and daemon. Raises where one is missing: that is a failure, never a skip."""
    for name in (
        *("dockerd", "docker", "containerd", "ctr", "podman", "buildah", "skopeo", "docker-registry"),
        *("nginx", "curl"),
    ):
        program(name)
