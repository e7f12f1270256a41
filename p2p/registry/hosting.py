"""All that writes to hosted repositories, put together: uploads, pushes, deletes, the collection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import trio

from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.route import BlobRoute, ManifestRoute, UploadRoute, UploadsRoute
from p2p.notifications.api import Silence, What
from p2p.registry.auth.api import ANONYMOUS, CATALOG, Action
from p2p.registry.auth.scope import mount_source
from p2p.registry.intake import Intake
from p2p.registry.policy import Policy
from p2p.registry.push import Pushes
from p2p.registry.sessions import Sessions
from p2p.registry.teller import Teller
from p2p.registry.uploads import UploadEndpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2p.config import HostingSettings
    from p2p.core.oci.route import Route
    from p2p.core.wire.common import Holding
    from p2p.net.message import Request, Response
    from p2p.notifications.api import Notifier
    from p2p.registry.api import HostingMetadata, OwnedContent, Taking
    from p2p.registry.auth.api import Principal
    from p2p.registry.auth.guard import Guard
    from p2p.registry.sharing import Sharing
    from p2p.registry.upstreams import Choice, Upstreams
    from p2p.store.api import Uploads


class HostedRepositories:
    """The writing half of the front end. ``through`` takes what is pushed for upstreams.

    ``records`` and ``intake`` are for those who read and collect.
    """

    def __init__(
        self,
        *,
        settings: HostingSettings,
        manifest_bytes: int,
        hosting: HostingMetadata,
        uploads: Uploads,
        content: OwnedContent,
        announce: Callable[[Holding], None],
        notifier: Notifier | None = None,
        guard: Guard | None = None,
        kept: Callable[[Digest], bool] = lambda _: False,
        sharing: Sharing | None = None,
        through: Taking | None = None,
    ) -> None:
        self.policy = Policy(settings)
        self.records = hosting
        self._bytes = uploads
        self._guard = guard
        self._settings = settings
        self._grace = timedelta(seconds=settings.unreferenced_grace)
        self.intake = Intake(
            content=content,
            hosting=hosting,
            grace=settings.unreferenced_grace,
            announce=announce,
            kept=kept,
            sharing=sharing,
        )
        self._sessions = Sessions(
            records=hosting, uploads=uploads, expiry=settings.upload_expiry, others=sharing is not None
        )
        teller = self._teller = Teller(Silence() if notifier is None else notifier)
        self._own = self._endpoints(self.intake, uploads, teller, manifest_bytes)
        self._through = None if through is None else self._endpoints(through, uploads, teller, manifest_bytes)

    def _endpoints(
        self, taking: Taking, uploads: Uploads, teller: Teller, manifest_bytes: int
    ) -> tuple[UploadEndpoints, Pushes]:
        return (
            UploadEndpoints(
                sessions=self._sessions,
                records=self.records,
                intake=taking,
                teller=teller,
                grace=self._settings.unreferenced_grace,
            ),
            Pushes(
                hosting=self.records,
                intake=taking,
                uploads=uploads,
                policy=self.policy,
                teller=teller,
                manifest_bytes=manifest_bytes,
            ),
        )

    def open_uploads(self) -> int:
        """Count the uploads that were begun here and have not ended."""
        return len(self._bytes.sessions())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mend what a crash left, then expire uploads and collect what nothing refers to."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._sessions.run)
            await nursery.start(self.intake.run, self._settings.collect_interval)
            task_status.started()

    async def handle(
        self,
        request: Request,
        choice: Choice,
        route: Route,
        upstreams: Upstreams,
        principal: Principal = ANONYMOUS,
    ) -> Response:
        """Answer one request that writes. Raises RemoraError."""
        uploads, pushes = self._meant(request, choice)
        match route:
            case UploadsRoute():
                source = self._source(route, upstreams, principal)
                # From anywhere only for who may read everything: else it would tell what others have.
                anywhere = route.source is None and (
                    self._guard is None or self._guard.may(principal, CATALOG, Action.PULL)
                )
                return await uploads.begin(request, choice, route, source=source, anywhere=anywhere)
            case UploadRoute() if request.method == "PATCH":
                return await uploads.send(request, choice, route)
            case UploadRoute() if request.method == "PUT":
                return await uploads.end(request, choice, route)
            case UploadRoute() if request.method == "DELETE":
                return await uploads.cancel(choice, route)
            case UploadRoute():
                return await uploads.status(choice, route)
            case ManifestRoute() if request.method == "PUT":
                return await pushes.put(request, choice, route)
            case ManifestRoute():
                return await pushes.delete_manifest(request, choice, route)
            case BlobRoute():
                return await pushes.delete_blob(request, choice, route.digest)
            case _:
                raise AssertionError(f"{route} does not write")

    def _meant(self, request: Request, choice: Choice) -> tuple[UploadEndpoints, Pushes]:
        if choice.pushable:
            return self._own
        if self._through is not None and not choice.hosted and choice.name in self.policy.through:
            if request.method == "DELETE" and "/blobs/uploads/" not in request.path:
                raise RegistryError(
                    "UNSUPPORTED",
                    f"{choice.name} is pushed through to its upstream, and deleted there",
                    {"allowed": ["GET", "HEAD", "PUT"]},
                )
            return self._through
        raise RegistryError(
            "UNSUPPORTED",
            f"{request.method} of this path is not offered: {choice.name} is not hosted here for pushes",
            {"allowed": ["GET", "HEAD"]},
            mend="Push to the upstream registry itself, or host it: remora node --hosted GLOB",
        )

    def _source(self, route: UploadsRoute, upstreams: Upstreams, principal: Principal) -> Choice | None:
        """Where to mount from: nowhere where it can't be, and an ordinary upload follows."""
        name = mount_source(route)
        if name is None or route.source is None:
            return None
        if self._guard is not None and not self._guard.may(principal, name, Action.PULL):
            return None
        try:
            source = upstreams.choose(route.source, route.namespace)
        except RegistryError:
            return None  # a name that no upstream has: nothing is there to be mounted
        return source if source.pushable else None

    async def read(self, request: Request, choice: Choice, response: Response) -> Response:
        """Take note of a blob or manifest that was read, or asked for, and pass the answer on.

        A client that was told that something exists may refer to it soon, without sending it again.
        """
        found = next((v for k, v in response.headers if k == b"Docker-Content-Digest"), None)
        if not choice.pushable or found is None or response.status not in (200, 206):
            return response
        digest = Digest.parse(found.decode("ascii"))
        if request.method == "HEAD":
            await self.records.hold(choice.repository, digest, lease=datetime.now(UTC) + self._grace)
        else:
            known = await self.records.describe(choice.repository, digest)
            await self._teller.tell(request, What.PULL, choice, known)
        return response
