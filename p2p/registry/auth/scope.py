"""What a request needs: its route as repositories and actions, and as the scope of a token. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2p.core.oci.route import (
    CatalogRoute,
    ExtensionRoute,
    Route,
    UploadRoute,
    UploadsRoute,
    VersionRoute,
)
from p2p.registry.auth.api import CATALOG, Action

if TYPE_CHECKING:
    from collections.abc import Iterable

_READ: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that must be allowed."""

    repository: str
    action: Action


def requested_name(name: str, namespace: str | None) -> str:
    """Give the name that rules see: the path's, with the source registry in front where ``ns`` has one.

    So ``?ns=ghcr.io`` of ``org/app`` and ``ghcr.io/org/app`` are one, and a rule about the hosted
    ``team-a/*`` says nothing about the ``team-a`` of every upstream.
    """
    if namespace is None or name.startswith(f"{namespace}/"):
        return name
    return f"{namespace}/{name}"


def is_greeting(method: str, route: Route) -> bool:
    """Whether a request is about no repository: ``/v2/``, or to read what an extension has for all.

    Extensions leave out what the client may not pull.
    """
    if isinstance(route, ExtensionRoute):
        return route.name is None and method in _READ
    return isinstance(route, VersionRoute)


def need_of(method: str, route: Route) -> Need | None:
    """Say what a request must be allowed; None for a greeting.

    An upload is begun, asked about, fed and cancelled with ``push``. A list of all repositories, and what
    extensions change for all, needs the catalog.
    """
    if is_greeting(method, route) or isinstance(route, VersionRoute):
        return None
    if isinstance(route, CatalogRoute) or route.name is None:
        return Need(CATALOG, _action(method))
    name = requested_name(route.name, route.namespace)
    if isinstance(route, UploadsRoute | UploadRoute):
        return Need(name, Action.PUSH)
    return Need(name, _action(method))


def _action(method: str) -> Action:
    if method in _READ:
        return Action.PULL
    return Action.DELETE if method == "DELETE" else Action.PUSH


def mount_source(route: Route) -> str | None:
    """Give the repository that an upload would mount from (``?mount=&from=``), None for none."""
    if not isinstance(route, UploadsRoute) or route.mount is None or route.source is None:
        return None
    return requested_name(route.source, route.namespace)


def scope_of(needs: Iterable[Need]) -> str:
    """Render needs as a token's scope, as distribution does: who pushes is told to ask for pull as well."""
    scopes = []
    for need in needs:
        if need.repository == CATALOG:
            scopes.append("registry:catalog:*")
        else:
            actions = "pull,push" if need.action is Action.PUSH else str(need.action)
            scopes.append(f"repository:{need.repository}:{actions}")
    return " ".join(scopes)
