"""A real S3 server of a test's own: moto's, in a process of its own, on a free port."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tests.support.processes import Process, free_port, listening

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "remora-test", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
"""What the node's environment must have; the server takes any."""
REGION = "us-east-1"


class S3Server(Process):
    """A server that forgets all when it ends. ``options`` are the ``hosting.content_options`` for it."""

    def __init__(self, directory: Path, *, name: str = "s3") -> None:
        self.port = free_port()
        super().__init__(
            name, [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", self.port], directory
        )

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> tuple[str, ...]:
        """What the node must be told."""
        return f"endpoint={self.endpoint}", f"region={REGION}"

    def wait_ready(self) -> None:
        """Wait until the port answers."""
        self.wait_for("its port", lambda: listening(self.port))

    def make_bucket(self, bucket: str) -> str:
        """Make a bucket and give its URL."""
        made = urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT")
        # The server reads region and service out of this; it verifies no signature.
        made.add_header(
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/s3/aws4_request, "
            "SignedHeaders=host, Signature=x",
        )
        with urllib.request.urlopen(made, timeout=10) as answer:
            assert answer.status == 200
        return f"s3://{bucket}"
