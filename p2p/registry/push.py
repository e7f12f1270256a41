"""Pushing and deleting manifests, and deleting blobs (distribution-spec, "Push" and "Content Management")."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import parse_manifest
from p2p.core.swarm.chunks import MAX_BLOB
from p2p.metadata.hosting import Pushed
from p2p.net.errors import BodyTooLargeError
from p2p.net.message import Response
from p2p.notifications.api import What
from p2p.registry.replies import VERSION

if TYPE_CHECKING:
    from p2p.core.oci.manifest import Manifest
    from p2p.core.oci.route import ManifestRoute
    from p2p.metadata.hosting import Hosting
    from p2p.net.message import Header, Request
    from p2p.registry.api import Taking
    from p2p.registry.policy import Policy
    from p2p.registry.teller import Teller
    from p2p.registry.upstreams import Choice
    from p2p.store.api import Uploads

_FOREIGN: Final = "nondistributable"
_DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


class Pushes:
    """Answers for one front end. ``manifest_bytes`` is the size above which a manifest is refused."""

    def __init__(
        self,
        *,
        hosting: Hosting,
        intake: Taking,
        uploads: Uploads,
        policy: Policy,
        teller: Teller,
        manifest_bytes: int,
    ) -> None:
        self._hosting = hosting
        self._intake = intake
        self._uploads = uploads
        self._policy = policy
        self._teller = teller
        self._limit = manifest_bytes

    async def put(self, request: Request, choice: Choice, route: ManifestRoute) -> Response:
        """PUT a manifest by tag or digest. Raises RegistryError."""
        data = await self._read(request, choice)
        media_type = (request.header(b"content-type") or "").partition(";")[0].strip()
        manifest = parse_manifest(data, media_type or None)
        for child in manifest.children:
            if child.size > MAX_BLOB:
                raise RegistryError.manifest_invalid(f"claims {child.size} bytes for {child.digest}")
        algorithm = "sha256" if route.digest is None else route.digest.algorithm
        digest = Digest.of(data, algorithm)
        if route.digest is not None and route.digest != digest:
            raise RegistryError(
                "DIGEST_INVALID", f"the manifest's digest is {digest}", {"digest": str(route.digest)}
            )
        tags = tuple(dict.fromkeys((*(() if route.tag is None else (route.tag,)), *route.more_tags)))
        descriptor = Descriptor(manifest.media_type, digest, len(data))
        await self._accept(choice, descriptor, data, manifest, tags)
        await self._teller.tell(request, What.PUSH, choice, descriptor, tags=tags)
        headers: list[Header] = [
            (b"Location", f"/v2/{choice.name}/manifests/{digest}".encode("ascii")),
            (b"Docker-Content-Digest", str(digest).encode("ascii")),
            VERSION,
        ]
        headers += [(b"OCI-Tag", tag.encode("ascii")) for tag in route.more_tags]
        if manifest.subject is not None:
            headers.append((b"OCI-Subject", str(manifest.subject.digest).encode("ascii")))
        return Response(201, tuple(headers))

    async def _read(self, request: Request, choice: Choice) -> bytes:
        try:
            return await request.body.read(self._limit)
        except BodyTooLargeError as error:
            raise RegistryError(
                "MANIFEST_INVALID",
                f"a manifest for {choice.name} is larger than the {self._limit} bytes that are accepted here",
                {"limit": self._limit},
                status=413,
                mend="Raise registry.manifest_bytes if it is meant to be that large",
            ) from error

    async def _accept(
        self, choice: Choice, descriptor: Descriptor, data: bytes, manifest: Manifest, tags: tuple[str, ...]
    ) -> None:
        immutable = frozenset(tag for tag in tags if self._policy.immutable(choice.name, tag))
        required = tuple(child.digest for child in manifest.children if not _foreign(child))
        pushed = Pushed(descriptor, manifest, tags, required, immutable)
        upload = await self._uploads.begin(
            f"manifest-{secrets.token_urlsafe(18)}", descriptor.digest.algorithm
        )
        try:
            await upload.write(data)
            accepted = await self._intake.accept(choice.repository, upload, pushed)
        finally:
            await upload.discard()  # nothing, where it has become a blob
        if accepted.missing:
            raise RegistryError(
                "MANIFEST_BLOB_UNKNOWN",
                f"{choice.name} lacks {len(accepted.missing)} of what the manifest refers to",
                [{"digest": str(digest)} for digest in accepted.missing[:100]],
                mend="Push the blobs and manifests first that it is made of",
            )
        if accepted.conflicts:
            raise RegistryError(
                "DENIED",
                f"tag {choice.name}:{accepted.conflicts[0]} is immutable and points elsewhere",
                {"tags": list(accepted.conflicts)},
                mend="Push under another tag; see hosting.immutable_tags",
            )

    async def delete_manifest(self, request: Request, choice: Choice, route: ManifestRoute) -> Response:
        """DELETE a tag, or a manifest with all its tags."""
        if route.tag is not None:
            self._policy.admit_delete(choice.name, route.tag)
            digest = await self._hosting.untag(choice.repository, route.tag)
            if digest is None:
                raise RegistryError("MANIFEST_UNKNOWN", f"{choice.name} has no tag {route.tag}")
            await self._teller.tell(request, What.DELETE, choice, None, tags=(route.tag,))
            return Response(202, (VERSION,))
        assert route.digest is not None
        self._policy.admit_delete(choice.name)
        kept = await self._immutable_tags(choice, route.digest)
        if kept:
            raise RegistryError("DENIED", f"{route.digest} has the immutable tag {choice.name}:{kept[0]}")
        known = await self._hosting.hold(choice.repository, route.digest, lease=datetime.now(UTC))
        tags = await self._hosting.remove_manifest(choice.repository, route.digest)
        if tags is None or known is None:
            raise RegistryError("MANIFEST_UNKNOWN", f"{choice.name} has no manifest {route.digest}")
        await self._teller.tell(request, What.DELETE, choice, known, tags=tuple(tags))
        return Response(202, (VERSION,))

    async def _immutable_tags(self, choice: Choice, digest: Digest) -> list[str]:
        if not self._policy.has_immutable:
            return []
        tags = await self._hosting.tags_of(choice.repository, digest)
        return [tag for tag in tags if self._policy.immutable(choice.name, tag)]

    async def delete_blob(self, request: Request, choice: Choice, digest: Digest) -> Response:
        """DELETE a blob of one repository; others that have it keep it."""
        self._policy.admit_delete(choice.name)
        known = await self._hosting.hold(choice.repository, digest, lease=datetime.now(UTC))
        removed = await self._hosting.remove_blob(choice.repository, digest)
        if removed is None or known is None:
            raise RegistryError("BLOB_UNKNOWN", f"{choice.name} has no blob {digest}")
        if not removed:
            raise RegistryError(
                "UNSUPPORTED",
                f"a manifest of {choice.name} refers to {digest}",
                {"allowed": ["GET", "HEAD"]},
                mend="Delete the manifest first: the blob goes with it",
            )
        await self._teller.tell(request, What.DELETE, choice, known)
        return Response(202, (VERSION,))


def _foreign(child: Descriptor) -> bool:
    """A layer that is had elsewhere, and need not be here."""
    return bool(child.urls) or _FOREIGN in child.media_type or child.media_type == _DOCKER_FOREIGN
