"""Which upstream a request means: a lookup in a closed list, never a dial target (SSRF).

In this order:

1. ``?ns=<host>`` (containerd, BuildKit, dockerd with the containerd store);
2. a repository hosted here, by its whole name;
3. a path prefix, ``/v2/<host or alias>/<repository>/…``;
4. the default upstream (dockerd's ``registry-mirrors`` sends no ``ns``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from p2p.core.oci.error import RegistryError, shown
from p2p.core.oci.reference import Repository
from p2p.errors import ConfigError
from p2p.metadata.hosting import HOSTED

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from p2p.config import UpstreamSettings

LAYOUT: Final = "layout.invalid"
"""The registry of those that come from OCI layout directories, and go with them."""

OWN: Final = (HOSTED, LAYOUT)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request means: ``repository`` at its upstream, and how the request put it.

    ``name`` is the name in the request's path and ``namespace`` its ``ns``, None where it had none;
    ``prefixed``: the path names the upstream, so that whoever asks knows that it talks to a registry of many.
    """

    repository: Repository
    name: str
    namespace: str | None = None
    prefixed: bool = False

    @property
    def hosted(self) -> bool:
        """Whether the repository is this node's own."""
        return self.repository.registry in OWN

    @property
    def pushable(self) -> bool:
        """Whether it takes pushes."""
        return self.repository.registry == HOSTED


class Upstreams:
    """The closed list. Raises ConfigError where two upstreams share a name or the default is unknown.

    ``layouts`` are the names of repositories from layouts, ``hosted`` those that take pushes; both are asked
    live. An empty ``default`` means none.
    """

    def __init__(
        self,
        configured: Mapping[str, UpstreamSettings],
        default: str,
        layouts: Container[str] = (),
        hosted: Container[str] = (),
    ) -> None:
        self._configured = configured
        self._own = ((LAYOUT, layouts), (HOSTED, hosted))
        self._names: dict[str, str] = {HOSTED: HOSTED}
        for name, settings in configured.items():
            for known in (name, *settings.aliases):
                self._add(known.lower(), name)
        for name, settings in configured.items():
            # The host that the upstream is dialled at is what containerd sends as ns; a name given wins.
            self._names.setdefault(urlsplit(settings.url).netloc.rpartition("@")[2].lower(), name)
        self._default = self._names.get(default.lower()) if default else None
        if default and self._default in (None, HOSTED):
            raise ConfigError(
                "registry.default_upstream",
                f"{shown(default)} is none of the upstreams",
                _mend(default),
            )

    def _add(self, known: str, name: str) -> None:
        taken = self._names.setdefault(known, name)
        if taken != name:
            raise ConfigError(
                f'upstreams."{name}"',
                f"its name or alias {shown(known)} is taken by {shown(taken)}",
                "Give each upstream names of its own",
            )

    def choose(self, name: str, namespace: str | None = None) -> Choice:
        """Give the repository that a request for ``name`` (and ``ns``) means; RegistryError NAME_UNKNOWN."""
        if namespace is not None:
            return self._by_namespace(name, namespace)
        for registry, names in self._own:
            if name in names:
                return Choice(Repository(registry, name), name)
        prefix, _, rest = name.partition("/")
        upstream = self._names.get(prefix) if rest else None
        if upstream is not None:
            return Choice(self._at(upstream, rest), name, prefixed=True)
        if self._default is None:
            raise _unknown(prefix if rest else name, f"no upstream is named by {shown(name)}")
        if rest and "." in prefix and self._configured[self._default].library_prefix:
            # Docker Hub has no users with a dot in their name: a registry was meant.
            raise _unknown(prefix, f"upstream {shown(prefix)} is not configured")
        return Choice(self._at(self._default, name), name)

    def _by_namespace(self, name: str, namespace: str) -> Choice:
        upstream = self._names.get(namespace.lower())
        if upstream is None:
            raise _unknown(namespace, f"upstream {shown(namespace)} is not configured")
        prefix, _, rest = name.partition("/")
        # With override_path containerd sends both the prefix and ns.
        twice = rest and "." in prefix and self._names.get(prefix) == upstream
        return Choice(self._at(upstream, rest if twice else name), name, namespace)

    def _at(self, upstream: str, path: str) -> Repository:
        if upstream == HOSTED:
            for registry, names in self._own:
                if path in names:
                    return Repository(registry, path)
            raise RegistryError(
                "NAME_UNKNOWN",
                f"repository {shown(path)} is not hosted here",
                mend="Host it: remora node --host DIRECTORY, or --hosted GLOB to push it",
            )
        if self._configured[upstream].library_prefix and "/" not in path:
            path = f"library/{path}"
        return Repository(upstream, path)


def _unknown(name: str, message: str) -> RegistryError:
    return RegistryError("NAME_UNKNOWN", message, {"upstream": name}, mend=_mend(name))


def _mend(name: str) -> str:
    return f'Add [upstreams."{name[:255]}"] with its url to the node\'s configuration'
