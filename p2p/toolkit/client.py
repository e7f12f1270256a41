"""The toolkit's client: pull, push, copy and inspect images, from registries or through a node."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio

from p2p.config import WELL_KNOWN, UpstreamSettings
from p2p.core.oci.descriptor import Platform
from p2p.core.oci.reference import Reference
from p2p.errors import ConfigError, LocalError, RemoraError, RemoteError
from p2p.origin.addresses import names_private
from p2p.origin.client import RegistryOrigin
from p2p.origin.credentials import CredentialSource
from p2p.origin.push import Pusher
from p2p.toolkit import pulling
from p2p.toolkit.api import Teller
from p2p.toolkit.image import ImageClient, ImageName, host_platform
from p2p.toolkit.inspecting import inspect_image
from p2p.toolkit.layout import Layout, pack
from p2p.toolkit.layout_image import LayoutImage
from p2p.toolkit.pulling import pull_image
from p2p.toolkit.pushing import Target, push_image
from p2p.toolkit.registry_image import RegistryImage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    import httpx

    from p2p.toolkit.api import Listener, Source
    from p2p.toolkit.inspecting import Inspected
    from p2p.toolkit.pulling import Pulled
    from p2p.toolkit.pushing import Pushed

READ_TIMEOUT: Final = 120.0
"""Seconds that a registry may be silent: some hash a whole blob again before they answer its last byte."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, or what a registry calls a token in its place."""

    username: str
    password: str = field(repr=False)


class Client:
    """Pulls, pushes, copies and inspects images. Use it in ``async with``, from trio; for concurrent use.

    ``node`` is the URL of a Remora node: what is read then comes through it, and so from peers; what is
    written goes to the registry that is named. A node that asks for credentials is shown those for the
    registry; stored ones only over https or on this host. Credentials are those of ``credentials``, by the
    registry's host, or else what docker and podman have stored (``environment`` replaces where those are
    looked for).
    ``platform`` is what is chosen where an image has several, by default Linux on this host's architecture.
    Registries are asked by https, but for loopback addresses and the hosts of ``plain_http``. With
    ``private_addresses`` False a registry must neither be nor resolve to a private address: for references
    that come from strangers. All errors are RemoraErrors.
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
        if node and not node.startswith(("http://", "https://")):
            raise ConfigError("node", f"{node!r} is not a URL", "Write it as http://127.0.0.1:5000")
        self._node = node
        self._credentials = dict(credentials or {})
        self._platform = _platform(platform) if platform is not None else host_platform()
        self._plain_http = frozenset(host.lower() for host in plain_http)
        self._private = private_addresses
        self._ca_file = ca_file
        self._streams = streams
        self._environment = environment
        self._origins: dict[str, RegistryOrigin] = {}
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        origins, self._origins = self._origins, {}
        for origin in origins.values():
            await origin.aclose()
        if self._http is not None:
            http, self._http = self._http, None
            with trio.CancelScope(shield=True):
                await http.aclose()

    async def pull(
        self,
        image: str,
        to: Path | str,
        *,
        platform: Platform | str | None = None,
        all_platforms: bool = False,
        progress: Listener | None = None,
    ) -> Pulled:
        """Pull an image into an OCI layout directory, or into a tar of one where ``to`` ends in ``.tar``.

        What an earlier, broken pull left there is used. The tar is made from a directory beside it.
        """
        name = ImageName.parse(image)
        output = Path(to)
        tar = output.suffix == ".tar"
        root = output.with_name(f".{output.name}.layout") if tar else output
        layout = Layout(root)
        try:
            await trio.to_thread.run_sync(layout.create)
        except OSError as error:
            raise LocalError(
                f"output {output}", f"can't be made: {error.strerror}", "Check the path"
            ) from error
        chosen = None if all_platforms else self._choice(platform)
        with _single_error():
            pulled = await pull_image(
                self._source(image), name, layout, chosen, Teller(progress), self._streams
            )
        if tar:
            try:
                await trio.to_thread.run_sync(pack, root, output)
            except OSError as error:
                raise LocalError(
                    f"output {output}", f"can't be written: {error.strerror}", "Check space"
                ) from error
            await trio.to_thread.run_sync(shutil.rmtree, root)
        return pulled

    async def push(
        self,
        path: Path | str,
        image: str,
        *,
        ref_name: str = "",
        referrers: bool = False,
        progress: Listener | None = None,
    ) -> Pushed:
        """Push an OCI layout, a directory or a tar, to ``image``; blobs that are there are skipped.

        ``ref_name`` chooses among several images of a layout. ``referrers``: with what the layout has that
        refers to it, and to that in turn.
        """
        target = self._target(image)
        source = LayoutImage(Path(path))
        # Read once here, so that a wrong path is told before anything else.
        await source.entry(ref_name)
        with _single_error():
            return await push_image(
                source, ref_name, target, Teller(progress), referrers=referrers, streams=self._streams
            )

    async def copy(
        self,
        source: str,
        target: str,
        *,
        platform: Platform | str | None = None,
        all_platforms: bool = False,
        referrers: bool = False,
        progress: Listener | None = None,
    ) -> Pushed:
        """Copy an image from one registry to another, or within one; bytes and digests stay as they are.

        ``referrers``: with all that refers to it (signatures, SBOMs), and to that in turn.
        """
        reference = Reference.parse(source)
        goal = self._target(target)
        same = not self._node and reference.registry == goal.reference.registry
        with _single_error():
            return await push_image(
                self._source(source),
                reference.identifier,
                goal,
                Teller(progress),
                platform=None if all_platforms else self._choice(platform),
                referrers=referrers,
                mount_from=reference.path if same and reference.path != goal.reference.path else "",
                streams=self._streams,
            )

    async def inspect(self, image: str) -> Inspected:
        """Tell what an image is: its manifest, platforms, sizes, configuration and referrers."""
        with _single_error():
            return await inspect_image(self._source(image), ImageName.parse(image).identifier, image)

    def _choice(self, platform: Platform | str | None) -> Platform:
        return self._platform if platform is None else _platform(platform)

    def _source(self, image: str) -> Source:
        if self._node:
            name = ImageName.parse(image)
            return ImageClient(self._node_client(), name, lambda: self._login(name))
        reference = Reference.parse(image)
        return RegistryImage(self.origin(reference.registry), reference.path, image)

    async def _login(self, name: ImageName) -> str:
        """Give credentials for an image's registry, to be shown to the node: those that were given here.

        Those that docker and podman have stored only where nobody reads them on the way.
        """
        registry = name.namespace or name.name.partition("/")[0]
        url = urlsplit(self._node)
        host = url.hostname or ""
        hidden = url.scheme == "https" or _loopback(f"[{host}]" if ":" in host else host)
        if registry not in self._credentials and not hidden:
            return ""
        found = (await CredentialSource(self._settings(registry), self._environment).get()).credential
        return found.basic if found is not None and found.username and found.password else ""

    def _target(self, image: str) -> Target:
        reference = Reference.parse(image)
        origin = self.origin(reference.registry)
        return Target(Pusher(origin.session), origin, reference)

    def origin(self, registry: str) -> RegistryOrigin:
        """Give the client of one registry, by its host; the rest of what a registry can be asked."""
        if registry not in self._origins:
            self._origins[registry] = RegistryOrigin(
                registry, self._settings(registry), user_agent="remora", environment=self._environment
            )
        return self._origins[registry]

    def _settings(self, registry: str) -> UpstreamSettings:
        known = WELL_KNOWN.get(registry)
        # A host that is an address counts as the operator's own word below; here it is the reference's.
        host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
        if names_private(host) and not self._private:
            raise RemoteError(
                f"registry {registry}", "its address is private", "Allow it with private_addresses=True"
            )
        plain = registry in self._plain_http or _loopback(host)
        login = self._credentials.get(registry, Credentials("", ""))
        return UpstreamSettings(
            url=known.url if known else f"{'http' if plain else 'https'}://{registry}",
            credential_key=known.credential_key if known else registry,
            username=login.username,
            password=login.password,
            ca_file=self._ca_file,
            private_addresses=self._private,
            read_timeout=READ_TIMEOUT,
        )

    def _node_client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx

            timeout = httpx.Timeout(60.0, connect=5.0)
            self._http = httpx.AsyncClient(base_url=self._node, timeout=timeout, trust_env=False)
        return self._http


def _platform(platform: Platform | str) -> Platform:
    return platform if isinstance(platform, Platform) else Platform.parse(platform)


def _loopback(host: str) -> bool:
    return names_private(host) and (host.startswith(("127.", "[::1")) or host.endswith("localhost"))


@contextmanager
def _single_error() -> Iterator[None]:
    """Raise the first of our errors in place of the groups that nurseries make of them."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        if all(isinstance(leaf, RemoraError) for leaf in leaves):
            raise leaves[0] from group
        raise


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error
