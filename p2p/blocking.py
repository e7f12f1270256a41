"""The toolkit without trio: each call runs it in the caller's thread, and returns when it is done.

::

    from p2p import blocking

    with blocking.Client() as client:
        client.copy("docker.io/library/alpine:3.20", "registry.example/alpine:3.20", all_platforms=True)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from p2p.toolkit import client as toolkit
from p2p.toolkit import pulling
from p2p.toolkit.client import Credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from p2p.core.oci.descriptor import Platform
    from p2p.toolkit.api import Listener
    from p2p.toolkit.inspecting import Inspected
    from p2p.toolkit.pulling import Pulled
    from p2p.toolkit.pushing import Pushed

__all__ = ["Client", "Credentials"]

_Result = TypeVar("_Result")


class Client:
    """As `p2p.Client`, with methods that block. Takes the same arguments; for use from any thread.

    Each call makes its own connections and asks for its own tokens. Not to be called from within trio:
    there is `p2p.Client`.
    """

    def __init__(
        self,
        *,
        node: str = "",
        credentials: Mapping[str, Credentials] | None = None,
        platform: Platform | str | None = None,
        plain_http: Collection[str] = (),
        private_addresses: bool = True,
        ca_file: str = "",
        streams: int = pulling.STREAMS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._make = partial(
            toolkit.Client,
            node=node,
            credentials=credentials,
            platform=platform,
            plain_http=plain_http,
            private_addresses=private_addresses,
            ca_file=ca_file,
            streams=streams,
            environment=environment,
        )
        self._make()  # wrong arguments are told here and not at the first call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: between calls nothing is open."""

    def pull(
        self,
        image: str,
        to: Path | str,
        *,
        platform: Platform | str | None = None,
        all_platforms: bool = False,
        progress: Listener | None = None,
    ) -> Pulled:
        """See `p2p.Client.pull`."""
        return self._run(
            lambda client: client.pull(
                image, to, platform=platform, all_platforms=all_platforms, progress=progress
            )
        )

    def push(
        self,
        path: Path | str,
        image: str,
        *,
        ref_name: str = "",
        referrers: bool = False,
        progress: Listener | None = None,
    ) -> Pushed:
        """See `p2p.Client.push`."""
        return self._run(
            lambda client: client.push(path, image, ref_name=ref_name, referrers=referrers, progress=progress)
        )

    def copy(
        self,
        source: str,
        target: str,
        *,
        platform: Platform | str | None = None,
        all_platforms: bool = False,
        referrers: bool = False,
        progress: Listener | None = None,
    ) -> Pushed:
        """See `p2p.Client.copy`."""
        return self._run(
            lambda client: client.copy(
                source,
                target,
                platform=platform,
                all_platforms=all_platforms,
                referrers=referrers,
                progress=progress,
            )
        )

    def inspect(self, image: str) -> Inspected:
        """See `p2p.Client.inspect`."""
        return self._run(lambda client: client.inspect(image))

    def _run(self, call: Callable[[toolkit.Client], Awaitable[_Result]]) -> _Result:
        async def main() -> _Result:
            async with self._make() as client:
                return await call(client)

        return trio.run(main)
