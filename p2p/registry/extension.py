"""The front end's extensions: what other packages answer under ``/v2/_<name>/…``.

An extension has no part in the registry's own endpoints: without it they answer the same. What it learns it
learns as a consumer of notifications, and from the catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import trio

from p2p import extensions
from p2p.core.oci.error import RegistryError
from p2p.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.core.oci.route import ExtensionRoute
    from p2p.metadata.hosting import Changed
    from p2p.net.message import Request, Response
    from p2p.notifications.api import Sink

MayPull: TypeAlias = Callable[[str], bool]
"""Whether the client of a request may pull from the hosted repository of this name."""


class Catalog(Protocol):
    """What is hosted, to be read from the beginning. Raises LocalError where it can't be read."""

    async def name(self) -> str:
        """Name the database: what was built of another one says nothing of this one."""
        ...

    async def changes(self, n: int, after: tuple[int, str] = (0, "")) -> Sequence[Changed]:
        """Give up to ``n`` hosted repositories by (time of the last change, path), those after ``after``.

        Those of which nothing is left, too. Where the database is ``shared``, changes that run at once may
        come to be seen in another order: look again at those of the last minute.
        """
        ...

    async def manifests(self, repository: Repository, n: int, last: str = "") -> Sequence[Descriptor]:
        """Give ``n`` manifests, tagged or not, by digest (as text) after ``last``; fewer: it was the end."""
        ...

    async def tags(self, repository: Repository, n: int, last: str = "") -> Sequence[tuple[str, Descriptor]]:
        """Give ``n`` tags after ``last``, in order, with the manifest (or index) of each; fewer: the end."""
        ...

    async def read(self, repository: Repository, digest: Digest, limit: int) -> bytes | None:
        """Give a manifest or a small blob; None where it is not there or longer than ``limit``.

        RemoraError where it may come later: another front end has it, and does not give it now.
        """
        ...


@dataclass(frozen=True, slots=True)
class About:
    """What ``/v2/_oci/ext/discover`` says of an extension.

    ``name`` begins with an underscore (``_remora``); ``endpoints`` are paths after ``/v2/``. Several
    extensions may share a name: the ``component``, the part of the path after it, tells them apart.
    """

    name: str
    component: str
    description: str
    url: str
    endpoints: tuple[str, ...]


class Extension(Protocol):
    """One extension."""

    @property
    def about(self) -> About:
        """What it is."""
        ...

    @property
    def consumer(self) -> Sink | None:
        """What is to hear of everything that happens; None where it does not care."""
        ...

    async def answer(self, request: Request, route: ExtensionRoute, may_pull: MayPull) -> Response:
        """Answer one request; RegistryError (or another of ours) is answered as such.

        Nothing of a repository that ``may_pull`` refuses may be in the answer.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what is to be done beside requests, until cancelled; may end early."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionContext:
    """What an extension gets: a directory for its files, the node's name, and the catalog.

    ``shared``: other front ends push to the same database, and no consumer here hears of that.
    """

    state: Path
    node: str
    catalog: Catalog
    shared: bool = False


OpenExtension: TypeAlias = "Callable[[ExtensionContext], AbstractAsyncContextManager[Extension]]"
"""What an entry point of ``remora.extensions`` is."""


class Extensions:
    """All of a node, by the name of their entry point; made by ``open_extensions``."""

    def __init__(self, loaded: Mapping[str, Extension]) -> None:
        self._loaded = dict(loaded)
        self._places: dict[tuple[str, str], Extension] = {}
        for name, one in self._loaded.items():
            place = (one.about.name, one.about.component)
            if place in self._places:
                raise ConfigError(
                    f"extension {name}", f"{'/'.join(place)} is taken by another one", "Take one of them away"
                )
            self._places[place] = one

    @property
    def discovery(self) -> list[dict[str, object]]:
        """Entries for ``/v2/_oci/ext/discover``, one for each name."""
        entries: dict[str, dict[str, object]] = {}
        for one in self._places.values():
            about = one.about
            entry = entries.setdefault(
                about.name,
                {"name": about.name, "description": about.description, "url": about.url, "endpoints": []},
            )
            known = entry["endpoints"]
            assert isinstance(known, list)
            known += about.endpoints
        return list(entries.values())

    @property
    def consumers(self) -> Mapping[str, Sink]:
        """Those that are to hear of everything, for ``open_notifications``."""
        return {name: one.consumer for name, one in self._loaded.items() if one.consumer is not None}

    async def answer(self, request: Request, route: ExtensionRoute, may_pull: MayPull) -> Response:
        """Let the extension of this path answer; RegistryError where there is none."""
        one = self._places.get((route.extension, route.component))
        if one is None:
            raise RegistryError("UNSUPPORTED", "there is no such extension here", status=404)
        return await one.answer(request, route, may_pull)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run them all until cancelled."""
        async with trio.open_nursery() as nursery:
            for one in self._loaded.values():
                await nursery.start(partial(one.run))
            task_status.started()


@asynccontextmanager
async def open_extensions(
    context: ExtensionContext, *, without: Sequence[str] = ()
) -> AsyncIterator[Extensions]:
    """Open every installed extension but those named in ``without``. ConfigError for one that can't be."""
    async with AsyncExitStack() as stack:
        loaded: dict[str, Extension] = {}
        for name in extensions.names(extensions.EXTENSIONS):
            if name not in without:
                opener = cast("OpenExtension", extensions.load(extensions.EXTENSIONS, name))
                loaded[name] = await stack.enter_async_context(opener(context))
        yield Extensions(loaded)
