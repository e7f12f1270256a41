"""Lists: tags and referrers (of the upstream, or of what is hosted), and the catalogue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from p2p.core.oci.error import RegistryError
from p2p.core.oci.manifest import OCI_INDEX
from p2p.core.oci.route import MAX_PAGE
from p2p.errors import OriginProtocolError
from p2p.net.message import Content, Header, Response
from p2p.registry.replies import VERSION, json_response, namespace_headers, next_link
from p2p.registry.upstreams import OWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from p2p.core.oci.descriptor import Descriptor
    from p2p.core.oci.digest import Digest
    from p2p.core.oci.reference import Repository
    from p2p.metadata.api import TagRecords
    from p2p.registry.api import OriginLookup
    from p2p.registry.upstreams import Choice

REFERRERS: Final = 500
"""Entries of one page of referrers: their annotations count in a client's limit of 4 MiB."""

_FILTERED: Final[Header] = (b"OCI-Filters-Applied", b"artifactType")


class Lists:
    """The listing endpoints.

    ``layouts`` gives what comes from layouts with a subject, in a stable order; ``pushed`` what was pushed.
    """

    def __init__(
        self,
        *,
        metadata: TagRecords,
        origins: OriginLookup,
        layouts: Callable[[Repository, Digest], Sequence[Descriptor]],
        pushed: Callable[[Repository, Digest, str | None, int, str], Awaitable[Sequence[Descriptor]]],
    ) -> None:
        self._metadata = metadata
        self._origins = origins
        self._layout_referrers = layouts
        self._pushed_referrers = pushed

    async def tags(self, choice: Choice, n: int | None, last: str | None) -> Response:
        """Answer one page of tags; one more than asked is read to know whether there are more."""
        if n == 0:
            return json_response(200, {"name": choice.name, "tags": []}, namespace_headers(choice))
        if choice.hosted:
            size = MAX_PAGE if n is None else n
            names = await self._metadata.tags(choice.repository, size + 1, last or "")
            names, more = names[:size], len(names) > size
            if not names and last is None:
                raise RegistryError(
                    "NAME_UNKNOWN", f"repository {choice.name} has no tags, if it is there at all"
                )
        else:
            names, more = await self._upstream_tags(choice, n, last)
        headers = namespace_headers(choice)
        if more and names:
            page = next_link(choice, "tags/list", n=len(names) if n is None else n, last=names[-1])
            headers = (*headers, page)
        return json_response(200, {"name": choice.name, "tags": names}, headers)

    async def _upstream_tags(self, choice: Choice, n: int | None, last: str | None) -> tuple[list[str], bool]:
        where = choice.repository
        fetched = await self._origins.find(where.registry).tags(where.path, n, last)
        try:
            document = json.loads(fetched.data)
        except (ValueError, RecursionError) as error:
            raise OriginProtocolError(where.registry, f"its tag list of {where.path} is not JSON") from error
        names = document.get("tags") if isinstance(document, dict) else None
        if names is None and isinstance(document, dict):
            names = []  # what Go writes for a list that was never filled
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise OriginProtocolError(where.registry, f"its tag list of {where.path} holds no list of tags")
        # The upstream's link names the upstream: ours leads the client back here, after the last tag seen.
        return names, any(name == "link" for name, _ in fetched.headers)

    async def referrers(
        self, choice: Choice, digest: Digest, artifact_type: str | None, last: str | None = None
    ) -> Response:
        """Answer the index of what refers to a digest: always the upstream's word, never an empty guess."""
        headers: list[Header] = [VERSION, *namespace_headers(choice)]
        if choice.hosted:
            found = await self._own_referrers(choice, digest, artifact_type, last or "")
            if artifact_type is not None:
                headers.append(_FILTERED)
            if len(found) > REFERRERS:
                found = found[:REFERRERS]
                headers.append(_referrers_link(choice, digest, artifact_type, str(found[-1].digest)))
            index = {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [each.to_json() for each in found],
            }
            data = json.dumps(index, separators=(",", ":")).encode("ascii")
        else:
            where = choice.repository
            fetched = await self._origins.find(where.registry).referrers(where.path, digest, artifact_type)
            data = fetched.data
            if any(name == "oci-filters-applied" for name, _ in fetched.headers):
                headers.append(_FILTERED)
        return Response(200, ((b"Content-Type", OCI_INDEX.encode()), *headers), Content(data))

    async def _own_referrers(
        self, choice: Choice, digest: Digest, artifact_type: str | None, last: str
    ) -> Sequence[Descriptor]:
        """Give a page, and one more where there are more."""
        if choice.pushable:
            return await self._pushed_referrers(choice.repository, digest, artifact_type, REFERRERS + 1, last)
        found = self._layout_referrers(choice.repository, digest)
        return [each for each in found if artifact_type is None or each.artifact_type == artifact_type]

    async def catalog(self, n: int | None, last: str | None) -> Response:
        """Answer one page of hosted repositories; what is cached of upstreams is nobody's catalogue."""
        size = MAX_PAGE if n is None else n
        found = [await self._metadata.repositories(own, size + 1, last or "") for own in OWN if size]
        paths = sorted({path for each in found for path in each})
        paths, more = paths[:size], len(paths) > size
        headers = (_catalog_link(size, paths[-1]),) if more else ()
        return json_response(200, {"repositories": paths}, headers)


def _referrers_link(choice: Choice, digest: Digest, artifact_type: str | None, last: str) -> Header:
    wanted = "" if artifact_type is None else f"&artifactType={quote(artifact_type, safe='')}"
    target = f"/v2/{choice.name}/referrers/{digest}?last={quote(last, safe='')}{wanted}"
    return b"Link", f'<{target}>; rel="next"'.encode("ascii")


def _catalog_link(n: int, last: str) -> Header:
    # Repository names need no percent-encoding in a query.
    return b"Link", f'</v2/_catalog?n={n}&last={last}>; rel="next"'.encode("ascii")
