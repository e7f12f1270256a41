"""The catalog's twin in memory, with images to put into it, and the events that a registry would tell of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from p2p.core.oci.descriptor import Descriptor
from p2p.core.oci.digest import Digest
from p2p.core.oci.manifest import OCI_INDEX, OCI_MANIFEST, parse_manifest
from p2p.core.oci.reference import Repository
from p2p.notifications.api import Event, Happening, What
from tests.support.happenings import LAYER, NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2p.errors import LocalError

CONFIG = "application/vnd.oci.image.config.v1+json"


class MemoryCatalog:
    """``Catalog`` in dictionaries. ``error`` is what every call raises."""

    def __init__(self) -> None:
        self.content: dict[tuple[Repository, Digest], bytes] = {}
        self.tagged: dict[Repository, dict[str, Descriptor]] = {}
        self.subjects: dict[tuple[Repository, Digest], list[Descriptor]] = {}
        self.events: list[Event] = []
        self.error: LocalError | None = None

    def image(
        self,
        name: str,
        *tags: str,
        platform: str = "linux/amd64",
        annotations: dict[str, str] | None = None,
        size: int = 1000,
        **more: Any,
    ) -> Descriptor:
        """Push an image with one layer of ``size`` bytes."""
        os, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        parts = {"os": os, "architecture": architecture, "variant": variant or None}
        config = self._put(Repository("hosted", name), json.dumps(parts).encode(), CONFIG)
        layer = Descriptor(LAYER, Digest.of(f"{name}{tags}{size}".encode()), size)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json()],
            "annotations": annotations or {},
        }
        return self.manifest(name, document | more, *tags)

    def index(self, name: str, *tags: str, children: dict[str, Descriptor]) -> Descriptor:
        """Push an index of images by platform."""
        entries = []
        for platform, child in children.items():
            os, architecture = platform.split("/")
            entries.append(child.to_json() | {"platform": {"os": os, "architecture": architecture}})
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.manifest(name, document, *tags)

    def manifest(self, name: str, document: dict[str, Any], *tags: str) -> Descriptor:
        """Push any manifest."""
        repository = Repository("hosted", name)
        data = json.dumps(document).encode()
        target = self._put(repository, data, document["mediaType"])
        subject = parse_manifest(data, target.media_type).subject
        if subject is not None:
            self.subjects.setdefault((repository, subject.digest), []).append(target)
        for tag in tags:
            self.tagged.setdefault(repository, {})[tag] = target
        self.tagged.setdefault(repository, {})
        self.tell(What.PUSH, repository, target, tags)
        return target

    def delete(self, name: str, target: Descriptor) -> None:
        """Delete a manifest with its tags."""
        repository = Repository("hosted", name)
        del self.content[repository, target.digest]
        for subject in self.subjects.values():
            subject[:] = [one for one in subject if one != target]
        tags = tuple(tag for tag, one in self.tagged[repository].items() if one == target)
        for tag in tags:
            del self.tagged[repository][tag]
        self.tell(What.DELETE, repository, target, tags)

    def untag(self, name: str, tag: str) -> None:
        """Delete a tag."""
        repository = Repository("hosted", name)
        del self.tagged[repository][tag]
        self.tell(What.DELETE, repository, None, (tag,))

    def tell(
        self, what: What, repository: Repository, target: Descriptor | None, tags: tuple[str, ...] = ()
    ) -> None:
        number = len(self.events) + 1
        self.events.append(Event(number, str(number), Happening(what, repository, target, NOW, tags)))

    def _put(self, repository: Repository, data: bytes, media_type: str) -> Descriptor:
        target = Descriptor(media_type, Digest.of(data), len(data))
        self.content[repository, target.digest] = data
        return target

    async def repositories(self, n: int, last: str = "") -> Sequence[Repository]:
        self._fail()
        return sorted(one for one in self.tagged if one.path > last)[:n]

    async def tags(self, repository: Repository, n: int, last: str = "") -> Sequence[tuple[str, Descriptor]]:
        self._fail()
        return sorted(
            ((tag, one) for tag, one in self.tagged[repository].items() if tag > last),
            key=lambda pair: pair[0],
        )[:n]

    async def referrers(
        self, repository: Repository, subject: Digest, n: int, last: str = ""
    ) -> Sequence[Descriptor]:
        self._fail()
        found = {str(one.digest): one for one in self.subjects.get((repository, subject), ())}
        return [found[digest] for digest in sorted(found) if digest > last][:n]

    async def read(self, repository: Repository, digest: Digest, limit: int) -> bytes | None:
        self._fail()
        data = self.content.get((repository, digest))
        return data if data is not None and len(data) <= limit else None

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def fill(catalog: MemoryCatalog) -> dict[str, Descriptor]:
    """Push what the tests of search look for."""
    pushed = {
        "web": catalog.image(
            "team/web", "1.0", "latest", annotations={"org.opencontainers.image.title": "Shop window"}
        ),
        "arm": catalog.image("team/web", "1.0-arm", platform="linux/arm64/v8", size=200_000_000),
        "db": catalog.image("other/db", "15.2", annotations={"vendor": "Crème & Söhne"}),
    }
    pushed["all"] = catalog.index(
        "team/web", "multi", children={"linux/amd64": pushed["web"], "linux/arm64": pushed["arm"]}
    )
    pushed["sbom"] = catalog.image(
        "team/web",
        subject={key: pushed["web"].to_json()[key] for key in ("mediaType", "digest", "size")},
        artifactType="application/spdx+json",
    )
    return pushed
