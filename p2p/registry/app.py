"""The /v2/ front end: one request in, one answer out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

import structlog

from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import (
    METHODS,
    BlobRoute,
    CatalogRoute,
    ExtensionRoute,
    ManifestRoute,
    ReferrersRoute,
    Route,
    TagsRoute,
    UploadRoute,
    UploadsRoute,
    VersionRoute,
    parse_route,
)
from p2p.errors import RemoraError
from p2p.net.message import Response
from p2p.registry.access import Access
from p2p.registry.api import RequestStatistics
from p2p.registry.auth.api import ANONYMOUS, Action
from p2p.registry.blobs import Blobs
from p2p.registry.lists import Lists
from p2p.registry.manifests import Manifests
from p2p.registry.proof import Proof
from p2p.registry.pull import Puller
from p2p.registry.replies import error_response, json_response
from p2p.registry.tags import TagResolver
from p2p.registry.upstreams import Upstreams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from p2p.config import RegistrySettings, TagSettings, UpstreamSettings
    from p2p.core.oci.reference import Repository
    from p2p.discovery.api import References
    from p2p.metadata.api import Metadata
    from p2p.net.message import Request
    from p2p.registry.api import OriginLookup
    from p2p.registry.auth.api import Principal
    from p2p.registry.auth.guard import Guard
    from p2p.registry.extension import Extensions
    from p2p.registry.hosted import Hosted
    from p2p.registry.hosting import HostedRepositories
    from p2p.registry.proof import Privacy
    from p2p.store.api import Store
    from p2p.transfer.api import Transfer

log = structlog.get_logger(__name__)

_READ: Final = ("GET", "HEAD")

_NAMES: Final[Mapping[type[Route], str]] = {
    VersionRoute: "version",
    BlobRoute: "blob",
    ManifestRoute: "manifest",
    TagsRoute: "tags",
    ReferrersRoute: "referrers",
    UploadsRoute: "uploads",
    UploadRoute: "upload",
    CatalogRoute: "catalog",
    ExtensionRoute: "extension",
}

_UNKNOWN: Final[Mapping[type[Route], str]] = {BlobRoute: "BLOB_UNKNOWN", ManifestRoute: "MANIFEST_UNKNOWN"}
"""Code of what an upstream does not have, by route; NAME_UNKNOWN elsewhere."""

_EXTENSIONS: Final = (
    {
        "name": "_oci",
        "description": "Discovery of extensions",
        "url": "https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md",
        "endpoints": ["_oci/ext/discover"],
    },
)


class Registry:
    """The front end. ``upstreams`` is the whole closed list, the well-known ones included.

    ``puller`` finds and reads manifests; prefetch uses it too. Never raises on a request, whatever is
    in it: every RemoraError becomes an answer, until the first byte of a body is sent. ``privacy`` None: what
    upstreams give is for everybody.
    """

    def __init__(
        self,
        *,
        settings: RegistrySettings,
        tags: TagSettings,
        upstreams: Mapping[str, UpstreamSettings],
        transfer: Transfer,
        store: Store,
        metadata: Metadata,
        origins: OriginLookup,
        references: References,
        hosted: Hosted,
        hosting: HostedRepositories,
        guard: Guard | None = None,
        extensions: Extensions | None = None,
        statistics: RequestStatistics | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        self.statistics = RequestStatistics() if statistics is None else statistics
        self._hosting = hosting
        self._guard = guard
        self._extensions = extensions
        self.upstreams = Upstreams(upstreams, settings.default_upstream, hosted.names, hosting.policy.hosted)
        proofs = None if privacy is None else privacy.proofs
        private = _nothing if privacy is None else privacy.visibility.is_private
        self._proof = None if privacy is None else Proof(privacy, guard=guard, statistics=self.statistics)
        access = Access(
            metadata=metadata,
            origins=origins,
            references=references,
            settings=tags,
            proofs=proofs,
            private=private,
        )
        resolver = TagResolver(
            metadata=metadata, origins=origins, references=references, settings=tags, private=private
        )
        self.puller = Puller(
            transfer=transfer,
            metadata=metadata,
            tags=resolver,
            access=access,
            manifest_bytes=settings.manifest_bytes,
            proofs=proofs,
            learn=None if privacy is None else privacy.visibility.learn,
        )
        self._manifests = Manifests(
            puller=self.puller,
            store=store,
            statistics=self.statistics,
            first_byte_timeout=settings.first_byte_timeout,
        )
        self._blobs = Blobs(
            transfer=transfer,
            store=store,
            access=access,
            statistics=self.statistics,
            first_byte_timeout=settings.first_byte_timeout,
        )
        self._lists = Lists(
            metadata=metadata, origins=origins, layouts=hosted.referrers, pushed=hosting.records.referrers
        )

    async def handle(self, request: Request) -> Response:
        """Answer one request of the registry's port."""
        route: Route | None = None
        try:
            route = parse_route(request.method, request.path, request.query)
            response = await self._answer(request, route)
        except RemoraError as error:
            unknown = "NAME_UNKNOWN" if route is None else _UNKNOWN.get(type(route), "NAME_UNKNOWN")
            response = error_response(error, unknown)
            if response.status >= 500:
                log.warning("request failed", path=request.path, status=response.status, cause=str(error))
        name = "none" if route is None else _NAMES[type(route)]
        self.statistics.requests[name, response.status] += 1
        return response

    async def _answer(self, request: Request, route: Route) -> Response:
        principal = ANONYMOUS
        if self._guard is not None:
            # Before anything is looked up, so that no refusal tells what is here.
            admitted = await self._guard.admit(request, route)
            if isinstance(admitted, Response):
                return admitted
            principal = admitted
            request = replace(request, principal=principal.name)
        if isinstance(route, VersionRoute):
            response = json_response(200, {})
            return response if self._proof is None else self._proof.greet(response)
        if isinstance(route, CatalogRoute):
            return await self._lists.catalog(route.n, route.last)
        if isinstance(route, ExtensionRoute):
            return await self._extension(request, route, principal)
        self._hosting.policy.admit(route.name)
        choice = self.upstreams.choose(route.name, route.namespace)
        if self._proof is not None:
            # Before anything of it is looked up, so that no refusal tells what is here or there.
            refusal = await self._proof.admit(request, choice, route, principal)
            if refusal is not None:
                return refusal
        if request.method not in _READ or isinstance(route, UploadsRoute | UploadRoute):
            return await self._hosting.handle(request, choice, route, self.upstreams, principal)
        match route:
            case BlobRoute():
                response = await self._blobs.answer(request, choice, route.digest)
                return await self._hosting.read(request, choice, response)
            case ManifestRoute():
                response = await self._manifests.answer(request, choice, tag=route.tag, digest=route.digest)
                return await self._hosting.read(request, choice, response)
            case TagsRoute():
                return await self._lists.tags(choice, route.n, route.last)
            case ReferrersRoute():
                return await self._lists.referrers(choice, route.digest, route.artifact_type, route.last)
            case _:
                assert_never(route)

    async def _extension(self, request: Request, route: ExtensionRoute, principal: Principal) -> Response:
        asked = (route.name, route.extension, route.component, route.module, route.rest)
        if asked == (None, "_oci", "ext", "discover", ""):
            if request.method not in _READ:
                raise _unsupported(request, route)
            more = [] if self._extensions is None else self._extensions.discovery
            return json_response(200, {"extensions": [*_EXTENSIONS, *more]})
        if self._extensions is None:
            raise RegistryError("UNSUPPORTED", "there is no such extension here", status=404)
        guard = self._guard

        def may_pull(name: str) -> bool:
            return guard is None or guard.may(principal, name, Action.PULL)

        return await self._extensions.answer(request, route, may_pull)


def _nothing(_: Repository) -> bool:
    return False


def _unsupported(request: Request, route: Route) -> RegistryError:
    return RegistryError(
        "UNSUPPORTED",
        f"{request.method} of this path is not offered",
        {"allowed": [method for method in METHODS[type(route)] if method in _READ]},
    )
