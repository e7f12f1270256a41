"""Bad input and bad surroundings: each a clear error that names the thing and the mend, no traceback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import UPSTREAM, Gallery
from tests.support.images import MIB, OCI_MANIFEST
from tests.support.nodes import REMORA, Node, download, get, pull_image
from tests.support.processes import Process, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.registry_origin import DockerRegistry

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def node(origin: DockerRegistry, session_directory: Path) -> Iterator[Node]:
    with Node("bad-input", session_directory, upstreams={UPSTREAM: origin.address}) as process:
        yield process


@pytest.mark.parametrize(
    ("path", "status", "code", "names"),
    [
        ("/v2/app/manifests/1?ns=unknown.example", 404, "NAME_UNKNOWN", "unknown.example"),
        # No upstream has this name, so it is a repository of the default one, which has not got it.
        ("/v2/unknown.example/app/manifests/1", 404, "MANIFEST_UNKNOWN", "unknown.example"),
        ("/v2/app/manifests/1?ns=169.254.169.254", 404, "NAME_UNKNOWN", "169.254.169.254"),
        (f"/v2/UPPER/blobs/{DIGEST}", 400, "NAME_INVALID", "UPPER"),
        (f"/v2/a..b/blobs/{DIGEST}", 400, "NAME_INVALID", "a..b"),
        ("/v2/app/blobs/sha256:beef", 400, "DIGEST_INVALID", "sha256"),
        ("/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID", "md5"),
        (f"/v2/app/blobs/{DIGEST}", 404, "BLOB_UNKNOWN", DIGEST),
        ("/v2/app/manifests/nonesuch", 404, "MANIFEST_UNKNOWN", "nonesuch"),
        ("/v2/nonesuch/manifests/1", 404, "MANIFEST_UNKNOWN", "nonesuch"),
    ],
)
def test_a_bad_request_gets_the_specs_error(
    path: str, status: int, code: str, names: str, node: Node
) -> None:
    answer = get(node.registry, path)

    assert (answer.status, answer.error_code) == (status, code), answer
    assert names in answer.body.decode(), answer


@pytest.mark.parametrize(
    "path", ["/v2/../../etc/passwd", "/v2/%2e%2e/%2e%2e/etc/passwd", "/v2/app/blobs/%00"]
)
def test_no_path_leads_out(path: str, node: Node) -> None:
    answer = get(node.registry, path)

    assert answer.status in {400, 404}
    assert b"root:" not in answer.body


def test_ranges(node: Node, gallery: Gallery) -> None:
    blob = gallery["single"].blobs[1]
    path = f"/v2/{UPSTREAM}/app/blobs/{blob.digest}"
    data = blob.path.read_bytes()

    def ranged(value: str) -> tuple[int, bytes]:
        answer = get(node.registry, path, headers={"Range": value})
        return answer.status, answer.body

    assert ranged("bytes=500-1499") == (206, data[500:1500])
    assert ranged("bytes=-500") == (206, data[-500:])
    assert ranged(f"bytes={blob.size - 10}-{blob.size + 10}") == (206, data[-10:])
    assert ranged(f"bytes={blob.size}-")[0] == 416
    assert ranged("bytes=500-0")[0] in {200, 416}
    assert ranged("nonsense=1-2") == (200, data)


def test_a_tls_hello_on_the_plain_port_is_answered_at_once(node: Node) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=5) as connection:
        connection.sendall(bytes.fromhex("16030100050100000100"))

        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_5_mib_manifest_is_refused_and_named(directory: Path) -> None:
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "x": "y" * (5 * MIB)}).encode()
    with fake_origin(manifest) as address, Node("large", directory, upstreams={"big.test": address}) as node:
        answer = get(node.registry, "/v2/big.test/app/manifests/1")

        assert 400 <= answer.status < 600
        assert answer.status not in {401, 408, 429}
        assert "big.test" in answer.body.decode(), answer
        assert get(str(node.ready["metrics"]), "/healthz").status == 200


def test_a_full_disk_still_streams_and_the_node_lives(
    directory: Path, origin: DockerRegistry, gallery: Gallery
) -> None:
    layer = next(b for b in gallery["medium"].blobs if b.diff_id)
    with (
        small_filesystem(directory / "small", 64 * MIB) as state,
        Node("full", directory, upstreams={UPSTREAM: origin.address}, state=state) as node,
    ):
        got = download(node.registry, f"/v2/{UPSTREAM}/app/blobs/{layer.digest}")

        assert (got.status, got.digest, got.size) == (200, layer.digest, layer.size)
        # What fits is still kept, and the node is well.
        assert pull_image(node.registry, f"{UPSTREAM}/app", "single") == gallery["single"].digest
        assert get(str(node.ready["metrics"]), "/healthz").status == 200
        said = [entry for entry in node.logs() if entry.get("level") in {"warning", "error"}]
        assert any(str(state) in json.dumps(entry) or "room" in json.dumps(entry) for entry in said), said


def test_a_port_in_use(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        state = directory / "state"
        for flag in ("--registry-listen", "--peer-listen", "--metrics-listen"):
            others = {"--registry-listen", "--peer-listen", "--metrics-listen"} - {flag}
            free = [part for other in sorted(others) for part in (other, "127.0.0.1:0")]
            done = run([*REMORA, "node", "--state", state, flag, address, *free], check=False, timeout=30)

            assert done.returncode not in {0, 2}
            assert address in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("state = = 1", "line 1"),
        ("nonsense = 1", "nonsense"),
        ("[registry]\nlisten = 5000", "registry.listen"),
        ("[registry]\nlisten = '127.0.0.1:70000'", "registry.listen"),
        ("[upstreams.'x']\nurl = 'ftp://x'", "upstreams.x"),
    ],
)
def test_a_broken_configuration_file(text: str, names: str, directory: Path) -> None:
    file = directory / "node.toml"
    file.write_text(text)

    done = run([*REMORA, "node", "--config", file], check=False, timeout=30)

    assert done.returncode == 2
    assert names in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_origin_is_named(directory: Path) -> None:
    with Node("alone", directory, upstreams={"gone.test": "127.0.0.1:1"}) as node:
        answer = get(node.registry, "/v2/gone.test/app/manifests/1")

        assert answer.status in {500, 502, 503, 504}
        assert "gone.test" in answer.body.decode()


def test_sigterm_ends_a_node_cleanly(directory: Path, origin: DockerRegistry) -> None:
    node = Node("ended", directory, upstreams={UPSTREAM: origin.address}).start()
    pull_image(node.registry, f"{UPSTREAM}/app", "single")

    assert node.stop() == 0
    assert isinstance(node, Process)


@contextmanager
def fake_origin(manifest: bytes) -> Iterator[str]:
    """An origin whose every manifest is ``manifest``; docker-registry takes none above 4 MiB."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"" if self.path == "/v2/" else manifest
            self.send_response(200)
            self.send_header("Content-Type", OCI_MANIFEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def small_filesystem(path: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs of ``size`` bytes."""
    path.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path])
    try:
        yield path
    finally:
        run(["umount", "-l", path])
